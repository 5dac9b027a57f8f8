//! Every reason a program cannot start, and that nothing else is refused.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Place {
    base: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { base: tempfile::tempdir().unwrap() };
        fs::create_dir(place.at("bin")).unwrap();
        fs::create_dir(place.at("bin/folder")).unwrap();
        place.file("bin/tool", "#!/bin/sh\n", 0o755);
        place.file("bin/plain", "", 0o644);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn file(&self, name: &str, content: &str, mode: u32) {
        fs::write(self.at(name), content).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn resolve(&self, program: &str) -> Result<PathBuf, CannotStart> {
        let path = self.at("bin");
        resolve(program.as_bytes(), Some(path.as_os_str().as_bytes()), self.base.path())
    }
}

#[test]
fn a_program_is_found_as_execvp_finds_it() {
    let place = Place::new();
    assert_eq!(place.resolve("tool"), Ok(place.at("bin/tool")));
    assert_eq!(place.resolve("bin/tool"), Ok(place.at("bin/tool")));
    assert_eq!(place.resolve("./bin/tool"), Ok(place.at("./bin/tool")));
    let cwd = place.at("bin");
    let resolve_with = |path: Option<&[u8]>, name: &[u8]| resolve(name, path, &cwd);
    // An empty entry, and a relative one, mean the working directory.
    assert!(resolve_with(Some(b"/nowhere:"), b"tool").is_ok());
    assert!(resolve_with(Some(b"../bin"), b"tool").is_ok());
    assert!(resolve_with(None, b"sh").is_ok());
    assert!(matches!(resolve_with(Some(b"/nowhere"), b"tool"), Err(CannotStart::NotFound { .. })));
}

#[test]
fn a_file_that_may_not_be_executed_is_passed_over_for_a_later_one() {
    let place = Place::new();
    fs::create_dir(place.at("late")).unwrap();
    place.file("late/plain", "", 0o755);
    let path = format!("{}:{}", place.at("bin").display(), place.at("late").display());
    let found = resolve(b"plain", Some(path.as_bytes()), place.base.path());
    assert_eq!(found, Ok(place.at("late/plain")));
}

#[test]
fn what_cannot_start_says_why_with_the_code_a_shell_would_give() {
    let place = Place::new();
    place.file("bin/orphan", "#!/no/such/interpreter -x\n", 0o755);
    let check = |program: &str, code: u8, words: &str| {
        let error = place.resolve(program).expect_err(program);
        assert_eq!(error.exit_code(), code, "{program}");
        assert!(error.to_string().contains(words), "{program}: {error}");
    };
    check("nothing-like-it", 127, "no such program");
    check("./bin/none", 127, "no such program");
    check("bin/tool/below", 127, "no such program");
    check("", 127, "without a name");
    check("a\0b", 127, "without a name");
    check("orphan", 127, "/no/such/interpreter");
    check("./bin/folder", 126, "is a directory");
    check("folder", 126, "is a directory");
    check("plain", 126, "not executable");
    check("./bin/plain", 126, "not executable");
}

#[test]
fn a_slip_of_the_pen_is_answered_with_the_name_that_was_meant() {
    let place = Place::new();
    place.file("bin/cargo", "", 0o755);
    let nearest = |program| match place.resolve(program) {
        Err(CannotStart::NotFound { nearest, .. }) => nearest,
        other => panic!("{program}: {other:?}"),
    };
    assert_eq!(nearest("crago").as_deref(), Some("cargo"));
    assert_eq!(nearest("cargoo").as_deref(), Some("cargo"));
    assert_eq!(nearest("xy"), None, "short names are near to everything");
    assert_eq!(nearest("plainn"), None, "what cannot run is not suggested");
    let hint = place.resolve("make all && make install").unwrap_err().hint().unwrap();
    assert!(hint.contains("--shell"), "{hint}");
}

#[test]
fn a_working_directory_that_cannot_be_entered_is_told_apart() {
    let place = Place::new();
    place.file("file", "", 0o644);
    let check = |cwd: &str| check_cwd(&place.at(cwd)).expect_err(cwd);
    assert!(matches!(check("missing"), CannotStart::NoSuchCwd(_)));
    assert!(matches!(check("file"), CannotStart::CwdNotADirectory(_)));
    assert!(matches!(check("file/below"), CannotStart::CwdNotADirectory(_)));
    assert_eq!(check_cwd(place.base.path()), Ok(()));
}

#[test]
fn permissions_are_those_of_the_user_who_asks() {
    let place = Place::new();
    fs::create_dir(place.at("closed")).unwrap();
    place.file("closed/tool", "", 0o755);
    fs::set_permissions(place.at("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    let look = || {
        let cwd = check_cwd(&place.at("closed"));
        let path = place.at("closed");
        let found = resolve(b"tool", Some(path.as_os_str().as_bytes()), Path::new("/"));
        (cwd, found)
    };
    let as_root = rustix::process::geteuid().is_root();
    let (cwd, found) = look();
    if as_root {
        assert_eq!((cwd, found.is_ok()), (Ok(()), true), "root may enter everything with an x bit");
    } else {
        assert!(matches!(cwd, Err(CannotStart::CwdForbidden(_))));
        // As in a shell, which says 127: what may not be searched is no sign of a program.
        assert!(matches!(found, Err(CannotStart::NotFound { .. })), "{found:?}");
    }
}
