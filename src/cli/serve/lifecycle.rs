//! The life of the server's process: the signals that end it, how long each step of the end may take, and what the
//! service manager is told meanwhile (`sd_notify`; nothing where there is none).

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::Failure;
use crate::cli::duration::duration;
use crate::store::Store;

/// The end of `serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct Lifecycle {
    /// The drain delay: how long to serve after the signal to stop, while health says NOT_SERVING, such as 5s. Set it
    /// to the time that load balancers need to notice.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(super) drain_delay: Duration,
    /// The grace period in seconds: how long running calls may take after that. Calls that are still running are then
    /// cut.
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    grace_seconds: u32,
}

impl Lifecycle {
    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds.into())
    }

    /// Waits for the signal to stop, and tells the service manager.
    pub(super) async fn stopped(self, mut stop: watch::Receiver<()>) {
        drop(stop.changed().await);
        let status = format!(
            "serving on for {:?}, then waiting at most {:?} for running calls",
            self.drain_delay,
            self.grace()
        );
        tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }
}

/// Changes at the first signal; the second one ends the process. Nothing acknowledged is lost by that: it is on the disk.
pub(super) fn stop_signal() -> Result<watch::Receiver<()>, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            signals += 1;
            if signals == 2 {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(1);
            }
            // The listener is gone when the process is about to end.
            let _ = stop.send(());
        }
    });
    Ok(stopped)
}

/// Tells the service manager how it stands.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how it stands");
    }
}

/// Shows the service manager signs of life, if it watches for them: as long as the store answers, and the threads that
/// serve get to ask it. A store that is down comes back only by a restart.
pub(super) fn show_life(store: Arc<dyn Store>) -> Option<JoinHandle<()>> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
    let mut tick = interval(limit / 3);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(tokio::spawn(async move {
        loop {
            tick.tick().await;
            if store.status().await.is_ok() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }))
}
