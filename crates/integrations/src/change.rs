//! From wishes to files: all changes are worked out in memory, then written all or none.
//!
//! ```text
//!   read every file ──► edit in memory ──► nothing wrong? ──► write each beside its place, rename ──► record
//!                            │ damaged, read-only                     │ one fails
//!                            └──► trouble, nothing changed            └──► those before are put back
//! ```
//!
//! Owns: reading and writing the agents' files, the order of things. Never knows an agent.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::agent::{Agent, Places, Scope};
use crate::edit::{Content, Damage, Edit, Edited, Found};
use crate::plan::{self, Wanted, Wishes};
use crate::record::{self, Done, Record};
use crate::trouble::Trouble;
use crate::{json, toml};

/// How often a file that somebody else changes at the same moment is read anew.
const TRIES: usize = 3;

/// Largest file of an agent that is edited; such files have some KiB.
const LARGEST: u64 = 64 << 20;

/// An agent, for whom, and where things are.
#[derive(Clone, Debug)]
pub struct Installation {
    pub agent: Agent,
    pub scope: Scope,
    pub places: Places,
    pub wishes: Wishes,
    /// Our own state directory: the record is below it.
    pub state: PathBuf,
}

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Make,
    Change,
    Remove,
}

/// A file that changes, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub path: PathBuf,
    pub kind: Kind,
    pub purpose: &'static str,
    /// What is put in or taken out, a line each.
    pub lines: Vec<String>,
}

/// What is not as it should be, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub path: PathBuf,
    /// What.
    pub what: String,
    /// It is there in another form: of an older release, or of a program elsewhere.
    pub other: bool,
}

/// A file with what it holds and what it is to hold.
#[derive(Debug)]
struct Step {
    path: PathBuf,
    purpose: &'static str,
    before: Option<String>,
    /// None: it is to go.
    after: Option<String>,
    made: Vec<Vec<String>>,
    lines: Vec<String>,
    missing: Vec<Missing>,
    /// Somebody's own, where ours would have been.
    left_alone: Vec<String>,
}

impl Installation {
    /// What the agent does not let us say, for people.
    #[must_use]
    pub fn cannot(&self) -> Option<&'static str> {
        plan::cannot(self.agent)
    }

    /// Whether it was installed and not taken out again.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.record_place().exists()
    }

    /// When something of it was changed last; none if it is not remembered.
    #[must_use]
    pub fn changed_at(&self) -> Option<SystemTime> {
        fs::metadata(self.record_place()).ok()?.modified().ok()
    }

    /// What installing would change; nothing where all is there.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn plan(&self) -> Result<Vec<Changed>, Trouble> {
        Ok(told(&self.steps_in()?))
    }

    /// What is not there, or there in another form.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn check(&self) -> Result<Vec<Missing>, Trouble> {
        Ok(self.steps_in()?.into_iter().flat_map(|step| step.missing).collect())
    }

    /// What is somebody's own where ours would have been, and stays.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn left_alone(&self) -> Result<Vec<String>, Trouble> {
        Ok(self.steps_in()?.into_iter().flat_map(|step| step.left_alone).collect())
    }

    /// Puts everything in, and remembers how it was.
    ///
    /// # Errors
    /// A file that cannot be read, understood or written; nothing is changed then.
    pub fn install(&self) -> Result<Vec<Changed>, Trouble> {
        self.carry_out(Self::steps_in, |record, step| {
            let known = record.of(&step.path).cloned();
            record.files.retain(|done| done.path != step.path);
            let before = known.as_ref().map_or_else(|| step.before.clone(), |k| k.before.clone());
            let mut made = known.map(|k| k.made).unwrap_or_default();
            made.extend(
                step.made.iter().filter(|path| !made.contains(path)).cloned().collect::<Vec<_>>(),
            );
            let after = step.after.clone().expect("installing removes no file");
            record.files.push(Done { path: step.path.clone(), before, after, made });
        })
    }

    /// What uninstalling would change.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn plan_removal(&self) -> Result<Vec<Changed>, Trouble> {
        Ok(told(&self.steps_out()?))
    }

    /// Takes everything out: a file that nobody changed since is as it was, to the byte.
    ///
    /// # Errors
    /// A file that cannot be read, understood or written; nothing is changed then.
    pub fn uninstall(&self) -> Result<Vec<Changed>, Trouble> {
        self.carry_out(Self::steps_out, |record, step| {
            record.files.retain(|done| done.path != step.path);
        })
    }

    fn record_place(&self) -> PathBuf {
        record::place(&self.state, self.agent, &self.scope)
    }

    fn wanted(&self) -> Vec<Wanted> {
        plan::files(self.agent, &self.scope, &self.places, &self.wishes)
    }

    fn carry_out(
        &self,
        steps: impl Fn(&Self) -> Result<Vec<Step>, Trouble>,
        remember: impl Fn(&mut Record, &Step),
    ) -> Result<Vec<Changed>, Trouble> {
        for _ in 0..TRIES {
            let steps = steps(self)?;
            let mut record = Record::read(&self.record_place())?;
            let known = record.clone();
            let changing: Vec<&Step> = steps.iter().filter(|step| step.changes()).collect();
            let Some(directories) = write(&changing)? else { continue };
            record.directories.extend(directories);
            steps.iter().filter(|step| step.changes()).for_each(|step| remember(&mut record, step));
            if steps.iter().any(|step| step.after.is_none()) {
                tidy_up(&mut record);
            }
            // Its age is that of the last change: what began before that needs a restart.
            if record == known {
                return Ok(told(&steps));
            }
            if let Err(error) = record.write(&self.record_place()) {
                put_back(&changing);
                return Err(Trouble::io("write", &self.record_place(), &error));
            }
            return Ok(told(&steps));
        }
        Err(Trouble::new(
            format!(
                "change the files of {}: somebody else changes them all the time",
                self.agent.name()
            ),
            "end its sessions and try again",
        ))
    }

    fn steps_in(&self) -> Result<Vec<Step>, Trouble> {
        self.wanted().into_iter().map(|wanted| step_in(&wanted)).collect()
    }

    fn steps_out(&self) -> Result<Vec<Step>, Trouble> {
        let record = Record::read(&self.record_place())?;
        let mut steps = Vec::new();
        let mut wanted = self.wanted();
        // What an installation with other wishes put in is ours, too.
        let wider = Wishes { allow_launch: true, ..self.wishes.clone() };
        for (file, wide) in
            wanted.iter_mut().zip(plan::files(self.agent, &self.scope, &self.places, &wider))
        {
            file.content = wide.content;
        }
        for wanted in wanted {
            steps.push(step_out(&wanted, &record)?);
        }
        Ok(steps)
    }
}

impl Step {
    fn changes(&self) -> bool {
        self.before != self.after
    }
}

fn told(steps: &[Step]) -> Vec<Changed> {
    let changing = steps.iter().filter(|step| step.changes());
    changing
        .map(|step| Changed {
            path: step.path.clone(),
            kind: match (&step.before, &step.after) {
                (None, _) => Kind::Make,
                (_, None) => Kind::Remove,
                (Some(_), Some(_)) => Kind::Change,
            },
            purpose: step.purpose,
            lines: step.lines.clone(),
        })
        .collect()
}

fn step_in(wanted: &Wanted) -> Result<Step, Trouble> {
    let path = target(&wanted.path)?;
    let before = read(&path)?;
    let damaged = |what: String| Trouble::damaged(&path, what);
    let text = before.as_deref();
    let (after, found, made, edits) = match &wanted.content {
        Content::Whole(whole) => {
            let found = match text {
                Some(text) if text == whole => Found::Same,
                Some(_) => Found::Older,
                None => Found::Nothing,
            };
            (whole.clone(), vec![found], vec![], vec![])
        }
        Content::Json(edits) => {
            let edited = json::apply(text.unwrap_or(json::EMPTY), edits).map_err(damaged)?;
            (edited.text, edited.found, edited.made, edits.clone())
        }
        Content::Toml(edits) => {
            let edited = toml::apply(text.unwrap_or_default(), edits).map_err(damaged)?;
            (edited.text, edited.found, edited.made, edits.clone())
        }
    };
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    let mut left_alone = Vec::new();
    for (at, found) in found.iter().enumerate().filter(|(_, found)| **found != Found::Same) {
        if *found == Found::Others {
            left_alone.extend(edits.get(at).map(Edit::place));
            continue;
        }
        let what = edits.get(at).map_or_else(|| "the whole file".to_owned(), Edit::place);
        let sign = if *found == Found::Older { '~' } else { '+' };
        lines.push(format!("{sign} {what}"));
        let other = *found == Found::Older;
        if other || !edits.get(at).is_some_and(Edit::is_offer) {
            missing.push(Missing { path: path.clone(), what, other });
        }
    }
    let purpose = wanted.purpose;
    // A file that is not there is not made to hold nothing.
    let nothing = before.is_none() && found.iter().all(|found| *found == Found::Same);
    let after = (!nothing).then_some(after);
    Ok(Step { path, purpose, before, after, made, lines, missing, left_alone })
}

fn step_out(wanted: &Wanted, record: &Record) -> Result<Step, Trouble> {
    let path = target(&wanted.path)?;
    let done = record.of(&path);
    let before = read(&path)?;
    let damaged = |what: String| Trouble::damaged(&path, what);
    let made = done.map(|done| done.made.clone()).unwrap_or_default();
    let was_there = done.is_none_or(|done| done.before.is_some());
    let after = match (&before, done) {
        (None, _) => None,
        // Nobody was here since: as it was, to the byte.
        (Some(text), Some(done)) if *text == done.after => done.before.clone(),
        (Some(text), _) => match &wanted.content {
            // Somebody made it theirs, or never was it ours.
            Content::Whole(whole) => (text != whole).then(|| text.clone()),
            Content::Json(edits) => {
                let rest = json::retract(text, edits, &made).map_err(damaged)?;
                (was_there || !json::is_empty(&rest)).then_some(rest)
            }
            Content::Toml(edits) => {
                let rest = toml::retract(text, edits, &made).map_err(damaged)?;
                (was_there || !toml::is_empty(&rest)).then_some(rest)
            }
        },
    };
    let there = |edited: Result<Edited, Damage>, edits: &[Edit]| -> Vec<String> {
        let found = edited.map(|edited| edited.found).unwrap_or_default();
        let ours = |found: &Found| matches!(found, Found::Same | Found::Older);
        let there = edits.iter().zip(found).filter(|(_, found)| ours(found));
        there.map(|(edit, _)| format!("- {}", edit.place())).collect()
    };
    let text = before.as_deref().unwrap_or_default();
    let lines = match &wanted.content {
        Content::Whole(_) => vec!["- the whole file".to_owned()],
        Content::Json(edits) => there(json::apply(text, edits), edits),
        Content::Toml(edits) => there(toml::apply(text, edits), edits),
    };
    let (purpose, missing, left_alone) = (wanted.purpose, vec![], vec![]);
    Ok(Step { path, purpose, before, after, made, lines, missing, left_alone })
}

/// Where a path leads: many keep such files elsewhere and link to them, and the link must stay.
fn target(path: &Path) -> Result<PathBuf, Trouble> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => {
            fs::canonicalize(path).map_err(|error| Trouble::io("follow the link", path, &error))
        }
        Ok(_) | Err(_) => Ok(path.to_owned()),
    }
}

fn read(path: &Path) -> Result<Option<String>, Trouble> {
    let about = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Trouble::io("read", path, &error))?,
    };
    if !about.is_file() {
        return Err(Trouble::damaged(path, "it is not a regular file"));
    }
    if about.len() > LARGEST {
        return Err(Trouble::damaged(path, format!("it has {} bytes", about.len())));
    }
    let bytes = fs::read(path).map_err(|error| Trouble::io("read", path, &error))?;
    String::from_utf8(bytes).map(Some).map_err(|_| Trouble::damaged(path, "it is not UTF-8"))
}

/// Writes all or none; what is told are the directories that were made. None: somebody changed a file meanwhile.
fn write(steps: &[&Step]) -> Result<Option<Vec<PathBuf>>, Trouble> {
    let mut directories = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let done = match read(&step.path) {
            Ok(now) if now != step.before => Ok(false),
            Ok(_) => write_one(step, &mut directories)
                .map(|()| true)
                .map_err(|error| Trouble::io("write", &step.path, &error)),
            Err(trouble) => Err(trouble),
        };
        if !matches!(done, Ok(true)) {
            put_back(&steps[..at]);
            remove_empty(&mut directories);
            return done.map(|_| None);
        }
    }
    Ok(Some(directories))
}

fn write_one(step: &Step, directories: &mut Vec<PathBuf>) -> io::Result<()> {
    if step.after.is_some() {
        make_directories(step.path.parent().unwrap_or(Path::new("/")), directories)?;
    }
    replace(&step.path, step.after.as_deref())
}

fn put_back(steps: &[&Step]) {
    for step in steps.iter().rev() {
        // It could be written a moment ago. If not now, the record that is kept still has it.
        let _left_as_it_is = replace(&step.path, step.before.as_deref());
    }
}

fn make_directories(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        made.push(directory.to_owned());
    }
    Ok(())
}

/// Puts a text in the place of a file, whole or not at all, with the mode that it had.
fn replace(path: &Path, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    };
    let mode = match fs::metadata(path) {
        // A file that its owner made read-only is not to be written, though its directory would let us.
        Ok(about) if about.permissions().mode() & 0o200 == 0 => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
        }
        Ok(about) => about.permissions().mode() & 0o777,
        Err(_) => 0o600,
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}.meanwhile-{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().inspect_err(|_| {
        let _gone_or_never_there = fs::remove_file(&new);
    })
}

/// Forgets directories that are not empty, and removes those that are.
fn tidy_up(record: &mut Record) {
    let mut directories = std::mem::take(&mut record.directories);
    remove_empty(&mut directories);
    record.directories = directories;
}

fn remove_empty(directories: &mut Vec<PathBuf>) {
    // The inner ones were made last.
    for at in (0..directories.len()).rev() {
        let gone = match fs::remove_dir(&directories[at]) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if gone {
            directories.remove(at);
        }
    }
}
