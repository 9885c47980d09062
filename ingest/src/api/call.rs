//! A request whose sender is known, and the reading of its body within bounds.

use super::{
    Api,
    auth::Caller,
    encoding::Encoding,
    problem::{Code, Problem},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Body as _, Incoming},
    http::request::Parts,
};
use std::time::Duration;
use tokio::{sync::SemaphorePermit, time::timeout};
use whence_runtime::{
    http::{BodyError, read_body},
    shares::Prefix,
};

/// A body that takes longer is given up: callers are servers, not phones.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for senders that have proved nothing yet.
const UNPROVED_TIMEOUT: Duration = Duration::from_secs(10);
/// What a place among the bodies in memory stands for.
const ROOM_UNIT: usize = 1024;

/// A request whose sender is known.
pub(super) struct Call {
    /// Who.
    pub caller: Caller,
    /// The query, undecoded.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// From which network.
    pub network: Prefix,
    body: Incoming,
}

impl Call {
    /// A request of this caller, its body not read yet.
    pub(super) fn new(caller: Caller, network: Prefix, head: Parts, body: Incoming) -> Call {
        let query = head.uri.query().map(str::to_owned);
        Call { caller, query, headers: head.headers, network, body }
    }

    /// Bytes that the body is to have, where that is declared.
    pub(super) fn declared_bytes(&self) -> Option<usize> {
        self.body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok())
    }
}

impl Api {
    /// The body, and the room it takes among all bodies in memory: keep that for as long as the body.
    pub(super) async fn read_body(
        &self,
        call: Call,
        bytes_max: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
        let encoding = Encoding::of(&call.headers)?;
        let declared = call.declared_bytes().filter(|_| encoding == Encoding::Identity);
        let bytes = declared.map_or(bytes_max, |bytes| bytes.min(bytes_max));
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        let room = self.room.try_acquire_many(units).map_err(|_| busy())?;
        let body = read_body(call.body, bytes_max, BODY_TIMEOUT).await?;
        Ok((encoding.decoded(body, bytes_max)?, room))
    }

    /// The body of a sender that has proved nothing yet, and its room among all such bodies. Room is taken
    /// for what has arrived: a length that is only declared takes none.
    pub(super) async fn read_unproved_body(
        &self,
        call: Call,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
        let bytes_max = self.settings.api_body_bytes_max.as_usize();
        let mut body = call.body;
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(BodyError::TooLarge { bytes_max }.into());
        }
        let reading = async {
            let mut bytes = BytesMut::new();
            let mut room = self.unproved_room.try_acquire_many(0).map_err(|_| busy())?;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|error| BodyError::Broken(error.into()))?.into_data() else {
                    continue;
                };
                let len = bytes.len() + data.len();
                if len > bytes_max {
                    return Err(BodyError::TooLarge { bytes_max }.into());
                }
                let missing = Self::room_for(len).saturating_sub(room.num_permits());
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                room.merge(self.unproved_room.try_acquire_many(missing).map_err(|_| busy())?);
                bytes.extend_from_slice(&data);
            }
            Ok((bytes.freeze(), room))
        };
        let limit = UNPROVED_TIMEOUT;
        timeout(limit, reading).await.unwrap_or_else(|_| Err(BodyError::TooSlow { limit }.into()))
    }

    /// Places for this many bytes of bodies.
    pub(super) fn room_for(bytes: usize) -> usize {
        bytes.div_ceil(ROOM_UNIT)
    }
}

fn busy() -> Problem {
    Problem::new(Code::Busy, "too many requests are being read at the moment")
}
