//! How much the server takes on at once.

use std::time::Duration;

use clap::Args;

use crate::cli::duration::duration;
use crate::server::CallLimits;

/// See the module's page.
#[derive(Debug, Clone, Args)]
pub(super) struct LimitArgs {
    /// How many calls are worked on at once, over all connections; further ones are refused at once with OVERLOADED. More
    /// lets bursts wait instead, and each call wait longer under load. Health and reflection do not count.
    #[arg(long, value_name = "NUMBER", default_value_t = CallLimits::default().in_flight as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
    /// How many streams and claims go on at once (watches, imports, exports, `ClaimJobs`): they may last long, and do not
    /// take the place of other calls. Each takes some memory for as long as it lasts.
    #[arg(long, value_name = "NUMBER", default_value_t = CallLimits::default().long_calls as u32, value_parser = clap::value_parser!(u32).range(1..))]
    max_long_calls: u32,
    /// How long a call may take that is neither, such as 500ms or 1m; it is DEADLINE_EXCEEDED then. Callers may ask for less.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    max_deadline: Duration,
}

impl From<&LimitArgs> for CallLimits {
    fn from(args: &LimitArgs) -> Self {
        Self {
            in_flight: args.max_in_flight as usize,
            long_calls: args.max_long_calls as usize,
            deadline: args.max_deadline,
        }
    }
}
