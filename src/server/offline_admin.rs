//! The operator's calls on a store whose server is stopped: the handlers of a server, without a network.

use std::path::Path;
use std::sync::Arc;

use super::store_factory::{self, StoreOptions};
use crate::api::admin::Admin;
use crate::clock::Clock;
use crate::service::Service;
use crate::store::{Result, Store};

/// A store that is open in this process alone.
pub struct Offline {
    store: Arc<dyn Store>,
    admin: Admin,
}

impl Offline {
    /// Opens the store in a directory, which must hold one. May read the disk for a while.
    pub fn open(directory: &Path, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = store_factory::open_existing(directory, options, clock.clone())?;
        Ok(Self {
            admin: Admin::new(Service::new(store.clone(), clock)),
            store,
        })
    }

    /// The calls.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Closes the store.
    pub async fn close(self) -> Result<()> {
        self.store.close().await
    }
}
