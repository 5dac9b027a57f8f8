//! Alternating rounds: A B C, A B C, ... so that whoever else uses the machine is in everybody's way alike.
//!
//! Owns the order and the progress lines. A peer that fails is recorded as absent with the reason and does not take
//! part any more; a failure of ours ends the group.

use super::record::{Role, Series, Unit};
use super::samples::Samples;
use crate::Outcome;

/// One that takes part: each call is one measurement, in the unit of the figure.
pub(super) struct Contestant<'a> {
    name: &'static str,
    role: Role,
    measure: Box<dyn FnMut() -> Outcome<f64> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(super) fn ours(measure: impl FnMut() -> Outcome<f64> + 'a) -> Self {
        Self { name: "meanwhile", role: Role::Ours, measure: Box::new(measure) }
    }

    pub(super) fn limit(name: &'static str, measure: impl FnMut() -> Outcome<f64> + 'a) -> Self {
        Self { name, role: Role::Limit, measure: Box::new(measure) }
    }

    /// A peer, if it could be installed.
    pub(super) fn peer<T: 'a>(
        name: &'static str,
        installed: Result<T, String>,
        mut measure: impl FnMut(&T) -> Outcome<f64> + 'a,
    ) -> Self {
        let measure: Box<dyn FnMut() -> Outcome<f64> + 'a> = match installed {
            Ok(program) => Box::new(move || measure(&program)),
            Err(why) => Box::new(move || Err(why.clone())),
        };
        Self { name, role: Role::Peer, measure }
    }
}

/// Lets everybody measure once per round.
pub(super) fn alternate(
    what: &str,
    unit: Unit,
    rounds: usize,
    mut contestants: Vec<Contestant<'_>>,
) -> Outcome<Vec<Series>> {
    let mut series: Vec<Series> = contestants
        .iter()
        .map(|c| Series {
            name: c.name.to_owned(),
            role: c.role,
            samples: Samples::default(),
            absent: None,
        })
        .collect();
    for round in 1..=rounds {
        let mut said = Vec::new();
        for (contestant, series) in contestants.iter_mut().zip(&mut series) {
            if series.absent.is_some() {
                continue;
            }
            match (contestant.measure)() {
                Ok(value) => {
                    said.push(format!("{} {}", contestant.name, unit.show(value)));
                    series.samples.push(value);
                }
                Err(why) if contestant.role == Role::Peer => {
                    eprintln!("bench: {} takes no part in {what}: {why}", contestant.name);
                    series.absent = Some(why);
                }
                Err(why) => return Err(format!("{what}: {}: {why}", contestant.name)),
            }
        }
        println!("  {what}, round {round} of {rounds}: {}", said.join(", "));
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_fails_is_named_with_the_reason_and_the_others_go_on() {
        let order = std::cell::RefCell::new(String::new());
        let mark = |letter: char| {
            order.borrow_mut().push(letter);
            Ok(1.0)
        };
        let contestants = vec![
            Contestant::ours(|| mark('a')),
            Contestant::peer("b", Err::<(), _>("not installed".to_owned()), |()| mark('b')),
            Contestant::peer("c", Ok(()), |()| mark('c')),
        ];
        let series = alternate("test", Unit::Ms, 2, contestants).expect("ours does not fail");
        assert_eq!(*order.borrow(), "acac");
        assert_eq!(series[1].absent.as_deref(), Some("not installed"));
        assert_eq!(series[2].samples.count(), 2);
    }
}
