//! Moves the clocks of single processes, so that the machine's own need not be touched.
//!
//! Programs read their clocks in the vDSO, a few pages of code that the kernel maps into each process. Owns a
//! replacement of three of its functions, which asks the kernel and adds an offset, and writing it into
//! processes of a row's own home while they stand still (through `/proc/PID/mem`, as debuggers do). The kernel
//! itself is not deceived: timers that are armed stay as they are, and nobody is told that a clock was set.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use meanwhile_testkit::Process;
use rustix::process::Signal;

/// Takes the place of `clock_gettime(edi: clock, rsi: answer)`: the system call, then the offset of that clock
/// is added. Behind it the two offsets in seconds, and the same for `gettimeofday` and `time`.
const CODE: [u8; 105] = [
    0xb8, 0xe4, 0, 0, 0, 0x0f, 0x05, // mov eax, 228; syscall
    0x85, 0xc0, 0x75, 0x0e, // test eax, eax; jne ret
    0x85, 0xff, 0x74, 0x0b, // test edi, edi (CLOCK_REALTIME); je wall
    0x83, 0xff, 5, 0x74, 6, // cmp edi, CLOCK_REALTIME_COARSE; je wall
    0x83, 0xff, 7, 0x74, 0x0c, // cmp edi, CLOCK_BOOTTIME; je boot
    0xc3, // ret
    0x48, 0x8b, 0x0d, 0x0f, 0, 0, 0, // wall: mov rcx, [WALL_AT]
    0x48, 0x01, 0x0e, 0xc3, // add [rsi], rcx; ret
    0x48, 0x8b, 0x0d, 0x0c, 0, 0, 0, // boot: mov rcx, [BOOT_AT]
    0xeb, 0xf3, 0x66, 0x90, // jmp to the addition; nop
    0, 0, 0, 0, 0, 0, 0, 0, // WALL_AT
    0, 0, 0, 0, 0, 0, 0, 0, // BOOT_AT
    0xb8, 0x60, 0, 0, 0, 0x0f, 0x05, // GETTIMEOFDAY_AT: mov eax, 96; syscall
    0x48, 0x8b, 0x0d, 0xe2, 0xff, 0xff, 0xff, // mov rcx, [WALL_AT]
    0x48, 0x01, 0x0f, 0xc3, // add [rdi], rcx; ret
    0xb8, 0xc9, 0, 0, 0, 0x0f, 0x05, // TIME_AT: mov eax, 201; syscall
    0x48, 0x03, 0x05, 0xd0, 0xff, 0xff, 0xff, // add rax, [WALL_AT]
    0x48, 0x85, 0xff, 0x74, 3, // test rdi, rdi; je ret
    0x48, 0x89, 0x07, 0xc3, // mov [rdi], rax; ret
];
const WALL_AT: u64 = 0x30;
const BOOT_AT: u64 = 0x38;
const GETTIMEOFDAY_AT: u64 = 0x40;
const TIME_AT: u64 = 0x52;

/// A process whose clocks can be moved, again and again.
#[derive(Debug)]
pub struct Clocks {
    memory: File,
    /// Where the code lies.
    at: u64,
}

impl Clocks {
    /// Takes over the clocks of a process; they go on as they are.
    ///
    /// # Errors
    /// In words: another kind of machine, a vDSO of another form, or a process that never stood still outside
    /// of it.
    pub fn of(process: &Process) -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("the replaced code is for x86-64".to_owned());
        }
        let pid = process.pid();
        let (base, size) = mapped(pid).ok_or("there is no vDSO")?;
        let path = format!("/proc/{pid}/mem");
        let memory = OpenOptions::new().read(true).write(true).open(path);
        let memory = memory.map_err(|error| format!("its memory is closed: {error}"))?;
        let mut image = vec![0; size];
        memory.read_exact_at(&mut image, base).map_err(|error| format!("vDSO: {error}"))?;
        let find = |name: &str| symbol(&image, name).ok_or(format!("no {name} in the vDSO"));
        let (clock, room) = find("__vdso_clock_gettime")?;
        if room < CODE.len() as u64 {
            return Err("the function is shorter than its replacement".to_owned());
        }
        let (day, _) = find("__vdso_gettimeofday")?;
        let (time, _) = find("__vdso_time")?;
        while_it_stands(process, base..base + size as u64, || {
            write(&memory, base + clock, &CODE)?;
            write(&memory, base + day, &jump(day, clock + GETTIMEOFDAY_AT))?;
            write(&memory, base + time, &jump(time, clock + TIME_AT))
        })?;
        Ok(Self { memory, at: base + clock })
    }

    /// Puts its wall clock so many seconds beside the true one.
    ///
    /// # Errors
    /// In words, when the process is gone.
    pub fn wall(&self, seconds: i64) -> Result<(), String> {
        write(&self.memory, self.at + WALL_AT, &seconds.to_le_bytes())
    }

    /// Lets it have been suspended for so many seconds: boot time moves on, running time does not.
    ///
    /// # Errors
    /// In words, when the process is gone.
    pub fn suspended(&self, seconds: i64) -> Result<(), String> {
        write(&self.memory, self.at + BOOT_AT, &seconds.to_le_bytes())
    }
}

fn write(memory: &File, at: u64, bytes: &[u8]) -> Result<(), String> {
    memory.write_all_at(bytes, at).map_err(|error| format!("cannot write its memory: {error}"))
}

/// `jmp`, from one place of the image to another.
fn jump(from: u64, to: u64) -> [u8; 5] {
    let distance = to.wrapping_sub(from + 5).to_le_bytes();
    [0xe9, distance[0], distance[1], distance[2], distance[3]]
}

/// Stops it where none of its threads runs the code in `range`, does something, and lets it go on.
fn while_it_stands(
    process: &Process,
    range: std::ops::Range<u64>,
    change: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    for _ in 0..100 {
        process.signal(Signal::STOP);
        meanwhile_testkit::until("it to stand still", meanwhile_testkit::DEADLINE, || {
            threads(process.pid()).iter().all(|thread| stands(thread)).then_some(())
        });
        if threads(process.pid()).iter().all(|thread| is_outside(thread, &range)) {
            let changed = change();
            process.signal(Signal::CONT);
            return changed;
        }
        process.signal(Signal::CONT);
        // sleep: it has to run for a moment to come to another place
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err("it never stood still outside of the vDSO".to_owned())
}

fn threads(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn stands(thread: &Path) -> bool {
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Whether the place it goes on from, the last word of the line, is known and not in the range.
fn is_outside(thread: &Path, range: &std::ops::Range<u64>) -> bool {
    let line = fs::read_to_string(thread.join("syscall")).unwrap_or_default();
    let place = line.split_whitespace().last().and_then(|word| word.strip_prefix("0x"));
    place.and_then(|hex| u64::from_str_radix(hex, 16).ok()).is_some_and(|at| !range.contains(&at))
}

/// Where the vDSO lies in a process, and how long it is.
fn mapped(pid: u32) -> Option<(u64, usize)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    let (from, to) = (number(from)?, number(to)?);
    Some((from, usize::try_from(to - from).ok()?))
}

/// Place and size of a function in an ELF image (elf(5)): its dynamic symbols, which the vDSO has in front of
/// their names.
fn symbol(image: &[u8], name: &str) -> Option<(u64, u64)> {
    let number = |at: usize, size: usize| {
        let bytes = image.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)))
    };
    let place = |at| usize::try_from(number(at, 8)?).ok();
    let (headers, size, count) = (place(32)?, number(54, 2)? as usize, number(56, 2)? as usize);
    let dynamic = (0..count).map(|n| headers + n * size).find(|at| number(*at, 4) == Some(2))?;
    let dynamic = place(dynamic + 8)?;
    let entry = |tag: u64| {
        (0..64)
            .map(|n| dynamic + n * 16)
            .find(|at| number(*at, 8) == Some(tag))
            .and_then(|at| place(at + 8))
    };
    let (names, symbols) = (entry(5)?, entry(6)?);
    (symbols..names).step_by(24).find_map(|at| {
        let from = names + number(at, 4)? as usize;
        let text = image.get(from..)?.split(|byte| *byte == 0).next()?;
        (text == name.as_bytes()).then_some((number(at + 8, 8)?, number(at + 16, 8)?))
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_clock_of_a_process_jumps_and_ours_does_not() {
        if !cfg!(target_arch = "x86_64") {
            return meanwhile_testkit::mode::not_here("the replaced code is for x86-64");
        }
        let script = "import sys, time\nfor line in sys.stdin: print(int(time.time()), int(\
                      time.clock_gettime(7)), int(time.monotonic()), flush=True)";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut asks = child.stdin.take().expect("it is piped");
        let mut answers = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
        let mut read = || {
            use std::io::{BufRead, Write};
            asks.write_all(b"x\n").expect("it reads");
            let mut line = String::new();
            answers.read_line(&mut line).expect("it answers");
            let words = line.split_whitespace().map(|word| word.parse::<i64>().expect("a number"));
            words.collect::<Vec<i64>>()
        };
        let before = read();
        let process = Process::of(child.id()).expect("it runs");
        let clocks = Clocks::of(&process).expect("its clocks can be moved");
        clocks.wall(-86_400).expect("it lives");
        clocks.suspended(3_600).expect("it lives");
        let after = read();
        let moved: Vec<i64> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert!((-86_400..-86_300).contains(&moved[0]), "{moved:?}");
        assert!((3_600..3_700).contains(&moved[1]), "{moved:?}");
        assert!((0..100).contains(&moved[2]), "{moved:?}");
        drop(asks);
        let _ = child.wait();
    }
}
