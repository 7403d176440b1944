//! When a service may be disturbed.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// When a service may be disturbed, in local time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Calm {
    /// The zone of the windows and freezes.
    pub zone: TimeZone,
    /// Automatic deployments happen in these only; none: at any time. For what takes a restart,
    /// also when it may end calls (none: 03:00 to 05:00).
    pub windows: Vec<Window>,
    /// Days without deployments; issuing goes on.
    pub freezes: Vec<Freeze>,
    /// When a reload may end calls.
    pub disruptive: Disruptive,
    /// Windows end to matter for what drops no call when this much of the served certificate's life
    /// is left.
    pub deadline: Share,
}

/// When a reload may end calls by itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Disruptive {
    /// When none is up; from a quarter of life left on also inside a window, announced.
    #[default]
    Idle,
    /// When none is up, and inside any window, announced.
    Window,
    /// Never: a person does it.
    Never,
}

impl Disruptive {
    /// Every choice, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Window, Self::Never];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Window => "window",
            Self::Never => "never",
        }
    }
}

/// A share of a certificate's life, or a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Share {
    /// `1/N` of the life.
    Part(u32),
    /// So long before the end.
    Span(Duration),
}

impl Share {
    /// How long before the end that is.
    pub fn of(self, lifetime: Duration) -> Duration {
        match self {
            Self::Part(n) => lifetime / n.max(1),
            Self::Span(span) => span.min(lifetime),
        }
    }
}

/// A weekly window: `mon-fri 22:00-05:00`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Monday first: the days on which it begins.
    pub days: [bool; 7],
    /// Minute of the day at which it begins, below 1440.
    pub from: u16,
    /// Minute of the day at which it ends, up to 1440; not after `from` means on the day after.
    pub to: u16,
}

/// Days without deployments, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freeze {
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
}

impl Default for Calm {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            windows: Vec::new(),
            freezes: Vec::new(),
            disruptive: Disruptive::default(),
            deadline: Share::Part(6),
        }
    }
}
