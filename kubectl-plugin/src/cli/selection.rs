//! The flags that say which of many pods are entered, and how many of them at a time.
//!
//! Which pods these are is found out in `many::select`.

use std::num::NonZeroU16;

use clap::Args;
use clap::builder::FalseyValueParser;

/// Pods that one command enters, unless it is told to enter more.
const MOST_PODS: &str = "50";
/// Sessions that run at a time; the other pods wait.
const MOST_AT_ONCE: &str = "16";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Many pods")]
pub(crate) struct SelectionFlags {
    /// Enter the pods with these labels, such as `app=web,tier!=cache`
    #[arg(short = 'l', long, env = "NSDEBUG_SELECTOR", value_name = "SELECTOR", global = true)]
    pub(crate) selector: Option<String>,

    /// Enter the pods with these fields, such as `spec.nodeName=n1`
    #[arg(long, env = "NSDEBUG_FIELD_SELECTOR", value_name = "SELECTOR", global = true)]
    pub(crate) field_selector: Option<String>,

    /// Look for the pods of a selector in all namespaces
    #[arg(short = 'A', long, env = "NSDEBUG_ALL_NAMESPACES", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) all_namespaces: bool,

    /// Enter all pods of deploy/, sts/, ds/, rs/, job/ or svc/, and not one of them
    #[arg(long, env = "NSDEBUG_ALL_PODS", value_parser = FalseyValueParser::new(), global = true)]
    pub(crate) all_pods: bool,

    /// Most pods that are entered; if there are more, none is
    #[arg(long, env = "NSDEBUG_MAX_PODS", value_name = "COUNT", default_value = MOST_PODS, global = true)]
    pub(crate) max_pods: NonZeroU16,

    /// Most sessions at a time; the other pods wait until one ends
    #[arg(long, env = "NSDEBUG_MAX_CONCURRENT", value_name = "COUNT", default_value = MOST_AT_ONCE, global = true)]
    pub(crate) max_concurrent: NonZeroU16,
}

impl SelectionFlags {
    /// Whether pods are found by what they have, and not by their names.
    pub(crate) fn selects(&self) -> bool {
        self.selector.is_some() || self.field_selector.is_some()
    }

    /// The first flag that is given of those that need a cluster.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--selector", self.selector.is_some()),
            ("--field-selector", self.field_selector.is_some()),
            ("--all-namespaces", self.all_namespaces),
            ("--all-pods", self.all_pods),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}
