//! Fair semaphore: a bounded resource of which one caller gets a share at most.
//!
//! A caller is a principal or, without credentials, a network address, so that neither many connections nor many calls of
//! one caller starve the others.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Extensions;
use parking_lot::Mutex;
use tonic::Status;

use crate::api::status;
use crate::server::context::CallContext;
use crate::server::log_throttle::LogThrottle;
use crate::server::transport::PeerAddress;

/// The time until the place of an answered call is taken back. A busy server sends an answer that is read in less.
const SENDING: Duration = Duration::from_secs(1);
/// Time between two lines of the log about refusals.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// The caller whose share a call counts against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum CallerId {
    /// A principal that was authenticated, by its name.
    Principal(Arc<str>),
    /// The address of a caller without credentials; of IPv6 the /64 network, which is usually one machine's.
    Address(IpAddr),
}

impl CallerId {
    /// The caller of an authenticated request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        let context = extensions.get::<Arc<CallContext>>();
        if let Some(name) = context.and_then(|context| context.shared_principal()) {
            return Self::Principal(name);
        }
        let peer = extensions.get::<PeerAddress>();
        Self::Address(
            match peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.ip()) {
                IpAddr::V6(address) if address.to_ipv4_mapped().is_none() => {
                    let [a, b, c, d, ..] = address.segments();
                    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
                address => address.to_canonical(),
            },
        )
    }
}

/// See the module's page. An amount is a number of calls or of bytes.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    share: usize,
    /// The refusals where the room is full, and where a caller has its share.
    refusals: [Status; 2],
    throttle: LogThrottle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    callers: HashMap<CallerId, usize>,
    /// The places of answered calls in the order of their answers.
    sending: VecDeque<(Instant, Arc<Held>)>,
}

/// The amount of a place; 0 once it is given back.
#[derive(Debug)]
struct Held {
    caller: CallerId,
    amount: Mutex<usize>,
}

impl Room {
    /// A room of `limit` units, of which one caller gets `share` at most. `what` names the unit for callers.
    pub(super) fn new(what: &str, limit: usize, share: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            share,
            refusals: [
                status::overloaded(what, limit),
                status::overloaded(&format!("{what} of one caller"), share),
            ],
            throttle: LogThrottle::once_in(SAY_EVERY),
            state: Mutex::default(),
        })
    }

    /// Takes some of the room for a caller, or refuses it.
    pub(super) fn take(self: &Arc<Self>, caller: &CallerId, amount: usize) -> Result<Place, Status> {
        let place = Place {
            room: self.clone(),
            held: Arc::new(Held {
                caller: caller.clone(),
                amount: Mutex::new(0),
            }),
        };
        place.grow(amount)?;
        Ok(place)
    }

    /// Logs that calls are refused, throttled: a line for each would be more work than the calls are.
    fn refuse(&self, refusal: &Status) -> Status {
        if let Some(times) = self.throttle.admit() {
            tracing::warn!(error = refusal.message(), times, "calls are refused");
        }
        refusal.clone()
    }
}

impl State {
    fn of_caller(&self, caller: &CallerId) -> usize {
        self.callers.get(caller).copied().unwrap_or_default()
    }

    /// Gives back the amount of a place.
    fn free(&mut self, held: &Held) {
        let amount = std::mem::take(&mut *held.amount.lock());
        self.taken -= amount;
        if amount > 0
            && let Some(taken) = self.callers.get_mut(&held.caller)
        {
            *taken -= amount;
            if *taken == 0 {
                self.callers.remove(&held.caller);
            }
        }
    }

    /// Takes back the places of answers that have been sent for too long, and drops those that are sent.
    fn expire_senders(&mut self) {
        while let Some((answered, held)) = self.sending.front() {
            let is_free = *held.amount.lock() == 0;
            if !is_free && answered.elapsed() < SENDING {
                break;
            }
            let held = held.clone();
            self.free(&held);
            self.sending.pop_front();
        }
    }
}

/// A part of a [`Room`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    held: Arc<Held>,
}

impl Place {
    /// Takes more.
    pub(super) fn grow(&self, amount: usize) -> Result<(), Status> {
        let Self { room, held } = self;
        let mut state = room.state.lock();
        let has_room = |state: &State| {
            state.taken.saturating_add(amount) <= room.limit
                && state.of_caller(&held.caller).saturating_add(amount) <= room.share
        };
        if !has_room(&state) {
            state.expire_senders();
        }
        if !has_room(&state) {
            let [full, share] = &room.refusals;
            let is_full = state.taken.saturating_add(amount) > room.limit;
            drop(state);
            return Err(room.refuse(if is_full { full } else { share }));
        }
        state.taken += amount;
        *state.callers.entry(held.caller.clone()).or_default() += amount;
        *held.amount.lock() += amount;
        Ok(())
    }

    /// From now on the place is that of an answer being sent, which may be taken back.
    pub(super) fn begin_sending(&self) {
        let mut state = self.room.state.lock();
        state.expire_senders();
        state.sending.push_back((Instant::now(), self.held.clone()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.state.lock().free(&self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> CallerId {
        CallerId::Principal(name.into())
    }

    #[test]
    fn one_caller_gets_its_share_and_leaves_the_rest_to_others() {
        let room = Room::new("calls", 3, 2);
        let (nora, idris) = (named("nora"), named("idris"));
        let refused = |caller: &CallerId| room.take(caller, 1).unwrap_err().message().to_owned();
        let held = [room.take(&nora, 1).unwrap(), room.take(&nora, 1).unwrap()];
        assert!(refused(&nora).contains("2 calls of one caller"));
        let other = room.take(&idris, 1).unwrap();
        assert!(refused(&idris).contains("3 calls,"));
        drop(held);
        assert!(room.take(&nora, 2).is_ok() && room.take(&nora, 3).is_err());
        drop(other);
        let state = room.state.lock();
        assert_eq!((state.taken, state.callers.len()), (0, 0));
    }

    #[test]
    fn a_place_grows_until_there_is_no_more_and_is_given_back_once() {
        let room = Room::new("bytes", 10, 10);
        let place = room.take(&named("nora"), 4).unwrap();
        assert!(place.grow(6).is_ok() && place.grow(1).is_err());
        place.begin_sending();
        drop(place);
        assert!(room.take(&named("idris"), 10).is_ok());
    }

    #[test]
    fn a_caller_without_credentials_is_its_address() {
        let of = |address: &str| {
            let mut extensions = Extensions::new();
            extensions.insert(PeerAddress(address.parse().unwrap()));
            CallerId::of(&extensions)
        };
        assert_eq!(of("10.0.0.1:1"), of("10.0.0.1:2"));
        assert_eq!(of("10.0.0.1:1"), of("[::ffff:10.0.0.1]:1"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
        assert_eq!(of("[2001:db8:1:2::1]:1"), of("[2001:db8:1:2:3::1]:1"));
        assert_ne!(of("[2001:db8:1:2::1]:1"), of("[2001:db8:1:3::1]:1"));
    }
}
