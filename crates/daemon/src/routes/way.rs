//! The ways that are set, each with the name that the ledger knows it by.
//!
//! Owns how often and how fast each is tried again. A webhook is known by a print of its address, so that the ledger holds
//! no address and a changed one begins anew.

use std::time::Duration;

use meanwhile_routes::WebhookUrl;

use crate::settings::RouteSettings;

/// One way to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An HTTP receiver.
    Webhook(WebhookUrl),
    /// A program of the user's.
    Command(Vec<String>),
    /// A window for a moment.
    Desktop,
    /// A sound.
    Bell,
}

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// Windows and bells come no faster than this: what ends meanwhile is told by the next.
const BETWEEN_SIGNS: Duration = Duration::from_secs(10);

impl Way {
    /// All that are set.
    pub(super) fn all(settings: &RouteSettings) -> Vec<Self> {
        // Checked when the settings were read.
        let urls = settings.webhook_urls.iter().filter_map(|url| WebhookUrl::parse(url).ok());
        let mut ways: Vec<Self> = Vec::new();
        for way in urls.map(Self::Webhook) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        if !settings.command.is_empty() {
            ways.push(Self::Command(settings.command.clone()));
        }
        ways.extend(settings.desktop.then_some(Self::Desktop));
        ways.extend(settings.bell.then_some(Self::Bell));
        ways
    }

    /// In the ledger.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Webhook(url) => format!("webhook:{}", url.print()),
            Self::Command(_) => "command".into(),
            Self::Desktop => "desktop".into(),
            Self::Bell => "bell".into(),
        }
    }

    /// For people and logs: nothing of it may be a secret.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Webhook(url) => format!("webhook {}", url.place()),
            Self::Command(words) => {
                let program = words.first().map_or("", String::as_str);
                format!("command {}", meanwhile_api::sanitise::line(program))
            }
            Self::Desktop => "desktop".into(),
            Self::Bell => "bell".into(),
        }
    }

    /// What people see is not told of what they have read already; programs are told of everything.
    pub(super) const fn is_for_eyes(&self) -> bool {
        match self {
            Self::Webhook(_) | Self::Command(_) => false,
            Self::Desktop | Self::Bell => true,
        }
    }

    /// Tries before it is given up. Signs are for the moment: nobody wants yesterday's bell.
    pub(super) const fn tries(&self) -> u32 {
        match self {
            Self::Webhook(_) => 8,
            Self::Command(_) => 4,
            Self::Desktop | Self::Bell => 1,
        }
    }

    /// The least time between two deliveries.
    pub(super) const fn spacing(&self) -> Duration {
        match self {
            Self::Webhook(_) | Self::Command(_) => Duration::ZERO,
            Self::Desktop | Self::Bell => BETWEEN_SIGNS,
        }
    }
}

/// The wait after so many tries, a fifth more or less, so that many who failed together do not come together again.
pub(super) fn wait_after(tries: u32, first: Duration, dice: u64) -> Duration {
    let factor = 4_u32.saturating_pow(tries.saturating_sub(1));
    let wait = first.saturating_mul(factor).min(LONGEST_WAIT);
    let fifth = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) / 5;
    let off = if fifth == 0 { 0 } else { dice % (2 * fifth) };
    (wait + Duration::from_millis(off)).saturating_sub(Duration::from_millis(fifth))
}

/// No wait is longer than this.
pub(super) fn longest_wait() -> Duration {
    LONGEST_WAIT + LONGEST_WAIT / 5
}
