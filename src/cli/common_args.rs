//! The options of the client commands: the server, and the form of the output.

use clap::Args;

use super::client::ServerArgs;
use super::output::OutputArgs;

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
