//! How the answers of many pods are shown.

use std::collections::hash_map::RandomState;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use regex_lite::Regex;

use super::json::JsonHead;
use super::listener::{Listener, Tail, Unfolding, Use};
use super::member::Member;
use super::printer::Printer;
use super::speaker::{Speaker, Tongue};
use super::streams::ByStream;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Lines behind their pods, as they come
    Text,
    /// Equal answers once, and of the others what differs
    Fold,
    /// A row for each pod, with its last line
    Table,
    /// A JSON object for each line, and a last one for each pod
    Json,
}

/// What is done with all output.
#[derive(Debug)]
pub(crate) enum Showing {
    Text,
    /// If nothing is said otherwise, answers that take long are shown as text.
    Fold {
        ignore: Option<Regex>,
        unless: Option<Unfolding>,
        state: RandomState,
    },
    Table,
    Json,
    Files(PathBuf),
}

impl Showing {
    pub(crate) fn fold(ignore: Option<Regex>, is_default: bool) -> Self {
        let unless = is_default.then(Unfolding::new);
        Self::Fold { ignore, unless, state: RandomState::new() }
    }

    /// Whether what is said of a pod that failed is part of what is shown.
    pub(crate) fn has_reasons(&self) -> bool {
        matches!(self, Self::Table | Self::Json)
    }

    pub(crate) fn unfolding(&self) -> Option<&Unfolding> {
        match self {
            Self::Fold { unless, .. } => unless.as_ref(),
            _ => None,
        }
    }
}

/// What all listeners have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) printer: Arc<Printer>,
    pub(crate) showing: Showing,
    pub(crate) is_terminal: ByStream<bool>,
    /// Whether there are several pods.
    pub(crate) is_shared: bool,
}

impl Stage {
    /// Who says in `prefix`'s name what is not kept.
    pub(crate) fn speaker(&self, who: usize, prefix: &ByStream<String>) -> Speaker {
        let tongue = Tongue::Text { prefix: prefix.clone(), is_terminal: self.is_terminal };
        Speaker::of(Arc::clone(&self.printer), tongue, who)
    }

    pub(crate) fn listener(
        &self,
        who: usize,
        prefix: &ByStream<String>,
        member: &Member,
    ) -> Listener {
        let to = match &self.showing {
            Showing::Text => Use::Say(self.speaker(who, prefix)),
            Showing::Fold { unless: Some(unfolding), .. } if unfolding.has_begun() => {
                Use::Say(self.speaker(who, prefix))
            }
            Showing::Fold { unless, state, .. } => {
                let unless = unless.clone().map(|unless| (unless, self.speaker(who, prefix)));
                Use::keep(state, unless)
            }
            Showing::Table => Use::Tail(Tail::default()),
            Showing::Json => {
                let tongue = Tongue::Json(JsonHead::of(member));
                Use::Say(Speaker::of(Arc::clone(&self.printer), tongue, who))
            }
            Showing::Files(folder) => Use::Write { folder: folder.clone(), files: None },
        };
        let is_text = !matches!(self.showing, Showing::Files(_));
        Listener::of(to, self.is_shared && is_text)
    }
}
