//! The names and the parsing everywhere; the real kernel where a subtree can be had.

use std::process::{Child, Command, Stdio};

use super::*;

const PURE: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
const HYBRID: &str = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

#[test]
fn version_2_is_found_alone_beside_version_1_and_not_where_it_is_not() {
    let mount = |text| Mount::parse(text).map(|m| (m.point, m.layout));
    assert_eq!(mount(PURE), Some(("/sys/fs/cgroup".into(), Layout::Unified)));
    assert_eq!(mount(HYBRID), Some(("/sys/fs/cgroup/unified".into(), Layout::Hybrid)));
    assert_eq!(mount("22 1 8:1 / / rw - ext4 /dev/root rw\n"), None);
}

#[test]
fn a_cgroup_path_becomes_a_directory_only_where_it_is_mounted() {
    let whole = Mount::parse(PURE).unwrap();
    let check = |mount: &Mount, cgroup: &str, expected: Option<&str>| {
        assert_eq!(mount.directory(Path::new(cgroup)), expected.map(PathBuf::from), "{cgroup}");
    };
    check(&whole, "/", Some("/sys/fs/cgroup"));
    check(&whole, "/user.slice/a.scope", Some("/sys/fs/cgroup/user.slice/a.scope"));
    check(&whole, "/../outside", None);
    let part = PURE.replace("0:26 /", "0:26 /docker/x");
    let part = Mount::parse(&part).unwrap();
    check(&part, "/docker/x/y", Some("/sys/fs/cgroup/y"));
    check(&part, "/elsewhere", None);
}

#[test]
fn a_process_belongs_to_the_task_of_its_home_and_to_no_other() {
    let check = |path: &str, expected: Option<(&str, u32)>| {
        let expected = expected.map(|(id, n)| (id.parse::<TaskId>().unwrap(), n));
        assert_eq!(task_of_path(Path::new(path), "abc"), expected, "{path}");
    };
    check("/meanwhile-abc/t-0123456789-2", Some(("0123456789", 2)));
    check("/x.scope/meanwhile-abc/t-0123456789-2/deeper", Some(("0123456789", 2)));
    check("/meanwhile-abc/daemon", None);
    check("/meanwhile-other/t-0123456789-2", None);
    check("/t-0123456789-2", None);
    check("/meanwhile-abc/t-0123456789", None);
    check("/meanwhile-abc/t-short-1", None);
    check("/meanwhile-out/t-0000000000-1/meanwhile-abc/t-0123456789-3", Some(("0123456789", 3)));
}

#[test]
fn switched_off_is_off() {
    let environment = Environment::new();
    let mode = CgroupMode::Off;
    let request = Request { mode, home_hash: "x", environment: &environment };
    assert_eq!(set_up(&request), Err(NoCgroup::SwitchedOff));
}

#[test]
fn our_own_cgroup_is_used_only_where_it_is_ours_by_right() {
    let base = tempfile::tempdir().unwrap();
    let unit = base.path().join("x.service");
    let subgroup = unit.join(UNIT_SUBGROUP);
    fs::create_dir_all(&subgroup).unwrap();
    for directory in [&unit, &subgroup] {
        fs::write(directory.join("cgroup.procs"), "").unwrap();
    }
    let (systemd, none) = (base.path(), Path::new("/no/systemd"));
    assert_eq!(by_right(&unit, none), ByRight::Build(unit.clone(), Origin::Own));
    assert_eq!(by_right(&unit, systemd), ByRight::Ask { writable: true });
    assert_eq!(by_right(&subgroup, systemd), ByRight::Ask { writable: true });
    let set = rustix::fs::setxattr(&unit, "user.delegate", b"1", rustix::fs::XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        // No attributes on this file system: nothing can be marked, and nothing is taken for it.
        assert!(!is_delegated(&unit));
        return;
    }
    set.unwrap();
    assert_eq!(by_right(&unit, systemd), ByRight::Build(unit.clone(), Origin::DelegatedWhole));
    assert_eq!(by_right(&subgroup, systemd), ByRight::Build(unit.clone(), Origin::Delegated));
    // A delegated cgroup further up is somebody else's, such as the user's own manager.
    let deeper = subgroup.join("other.scope");
    fs::create_dir(&deeper).unwrap();
    assert_eq!(by_right(&deeper, systemd), ByRight::Ask { writable: false });
}

/// A process in a cgroup, which ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start_in(directory: &Path) -> Self {
        // The shell moves itself before it becomes the sleeper, so it is there from the start.
        let line = format!("echo 0 > {}/cgroup.procs && exec sleep 600", directory.display());
        let child = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).spawn().unwrap();
        let sleeper = Self(child);
        while !procs(directory).contains(&sleeper.0.id()) {
            std::thread::yield_now();
        }
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A subtree of one test, left and removed with it. This process is moved into it, so there is one at
/// a time.
pub(crate) struct TestSubtree {
    hash: String,
    subtree: Subtree,
    base: PathBuf,
    _one_at_a_time: std::sync::MutexGuard<'static, ()>,
}

impl TestSubtree {
    /// `None` on a machine without a cgroup to be had, whose reason is then checked to be said.
    pub(crate) fn enter(name: &str) -> Option<Self> {
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let hash = format!("{name}{}", std::process::id());
        let environment = Environment::new();
        let mode = CgroupMode::Auto;
        let request = Request { mode, home_hash: &hash, environment: &environment };
        let base = own_directory(&Mount::find()?).ok()?;
        let promised = probe(&request).is_ok();
        let found = set_up(&request);
        assert_eq!(promised, found.is_ok(), "what was promised is what is to be had: {found:?}");
        match found {
            Ok(subtree) => Some(Self { hash, subtree, base, _one_at_a_time: guard }),
            Err(why) => {
                assert!(!why.to_string().is_empty());
                None
            }
        }
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

impl std::ops::Deref for TestSubtree {
    type Target = Subtree;

    fn deref(&self) -> &Subtree {
        &self.subtree
    }
}

impl Drop for TestSubtree {
    fn drop(&mut self) {
        // Other tests of this process may have children here, where one process runs them all.
        for pid in procs(&self.subtree.leaf()) {
            let _ = fs::write(self.base.join("cgroup.procs"), pid.to_string());
        }
        remove_empty(self.subtree.path());
    }
}

#[test]
fn a_subtree_is_made_tasks_are_told_apart_killed_whole_and_removed() {
    let Some(subtree) = TestSubtree::enter("test") else { return };
    let hash = subtree.hash();
    let own = proc::cgroup(std::process::id()).unwrap();
    assert!(own.ends_with(format!("meanwhile-{hash}/daemon")), "{}", own.display());
    let environment = Environment::new();
    let request = Request { mode: CgroupMode::Auto, home_hash: hash, environment: &environment };
    let again = set_up(&request).unwrap();
    assert_eq!(again.path(), subtree.path());
    assert_eq!(again.origin, Origin::Inherited);

    let task = TaskId::from_random(0x00ab_cdef);
    let directory = subtree.task(task, 3);
    let below = directory.join("below");
    fs::create_dir_all(&below).unwrap();
    assert_eq!(subtree.tasks(), [(task, 3)]);
    let (mut first, mut second) = (Sleeper::start_in(&directory), Sleeper::start_in(&below));
    let mut found = procs(&directory);
    found.sort_unstable();
    let mut expected = vec![first.0.id(), second.0.id()];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let path = proc::cgroup(second.0.id()).unwrap();
    assert_eq!(task_of_path(&path, hash), Some((task, 3)));
    assert!(!is_empty(&directory).unwrap());
    assert!(!wait_until_empty(&directory, Duration::ZERO).unwrap());
    assert!(!remove_empty(&directory), "a cgroup with processes stays");

    if subtree.has_kill {
        kill(&directory).unwrap();
    } else {
        first.0.kill().unwrap();
        second.0.kill().unwrap();
    }
    assert!(wait_until_empty(&directory, Duration::from_secs(30)).unwrap());
    first.0.wait().unwrap();
    second.0.wait().unwrap();
    fs::create_dir_all(&below).unwrap();
    assert!(remove_empty(&directory));
    assert!(is_empty(&directory).unwrap(), "what is gone is empty");
}
