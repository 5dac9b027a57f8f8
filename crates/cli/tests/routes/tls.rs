//! https: a certificate that nobody vouches for is refused, and one that is vouched for is taken.
//!
//! Owns a server of Python's, so that the other side of the handshake is not ours.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use meanwhile_testkit::TestHome;

/// Answers every POST with 200, and says its port first.
const SERVER: &str = "
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.send_response(200)
        self.send_header('content-length', '0')
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_certificate_counts_only_where_the_system_vouches_for_it() {
    let home = TestHome::new();
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
    let (certificate, key) = (home.path("certificate.pem"), home.path("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("a file can be written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file can be written");
    let mut child = Command::new("python3")
        .arg("-c")
        .arg(SERVER)
        .args([&certificate, &key])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python 3 is there: CONTRIBUTING.md");
    let mut port = String::new();
    let said = child.stdout.take().expect("a pipe");
    let _server = Server(child);
    BufReader::new(said).read_line(&mut port).expect("it says its port");
    let url = format!("https://127.0.0.1:{}/hook", port.trim());
    home.cli(["config", "set", "notify.webhook.urls", &url]).ok();
    let refused = home.cli(["notify", "test"]);
    refused.expect(1);
    assert!(refused.text().contains("certificate"), "{}", refused.text());
    let vouched = home.invoke(["notify", "test"]).env("SSL_CERT_FILE", &certificate).run();
    assert!(vouched.ok().contains("answered 200"), "{}", vouched.text());
}
