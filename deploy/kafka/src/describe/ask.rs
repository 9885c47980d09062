//! One question of librdkafka's admin interface: made, waited for, its answer freed.

use std::ffi::{CStr, c_char};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;

/// Frees what librdkafka made when it goes out of scope.
pub(super) struct Owned<T>(pub(super) *mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from librdkafka's constructor that this destructor belongs to, is not
        // null (checked where it was made) and is freed only here.
        unsafe { (self.1)(self.0) }
    }
}

pub(super) fn owned<T>(pointer: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Owned<T>> {
    (!pointer.is_null()).then_some(Owned(pointer, free))
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Nobody answered in time.
    Silence,
    /// An error for an answer.
    Error(Code, String),
}

/// Between looks for an answer while the caller also listens to what else its client reports.
const STEP: Duration = Duration::from_millis(50);

/// Asks with `call`, which is given options and a queue, and waits until `timeout` is over or `is_enough`.
///
/// # Safety
/// `client` must be a valid librdkafka handle for the whole call, and `call` ask it for `operation`.
pub(super) unsafe fn ask(
    client: *mut sys::rd_kafka_t,
    operation: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    mut is_enough: impl FnMut() -> bool,
    call: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Owned<sys::rd_kafka_event_t>, Unanswered> {
    let deadline = Instant::now() + timeout;
    // SAFETY: `client` is valid by the caller's promise; every pointer made here is checked, owned and outlives its use.
    let event = unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let queue = owned(queue, sys::rd_kafka_queue_destroy).ok_or(Unanswered::Silence)?;
        let options = options(client, operation, timeout).ok_or(Unanswered::Silence)?;
        call(options.0, queue.0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let step = i32::try_from(left.min(STEP).as_millis()).unwrap_or(i32::MAX);
            match owned(sys::rd_kafka_queue_poll(queue.0, step), sys::rd_kafka_event_destroy) {
                Some(event) => break event,
                None if left.is_zero() || is_enough() => return Err(Unanswered::Silence),
                None => {}
            }
        }
    };
    // SAFETY: the event is alive.
    match unsafe { sys::rd_kafka_event_error(event.0) } {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
        // SAFETY: as above.
        code => Err(refusal(code, unsafe { text(sys::rd_kafka_event_error_string(event.0)) })),
    }
}

/// Of an error with these words.
pub(super) fn refusal(code: Code, text: String) -> Unanswered {
    match code {
        Code::RD_KAFKA_RESP_ERR__TIMED_OUT | Code::RD_KAFKA_RESP_ERR__TRANSPORT => Unanswered::Silence,
        code => Unanswered::Error(code, text),
    }
}

/// # Safety
/// librdkafka's text must be alive, or null.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: by the caller's promise; librdkafka's texts end with a zero.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `client` must be valid.
unsafe fn options(
    client: *mut sys::rd_kafka_t,
    operation: sys::rd_kafka_admin_op_t,
    timeout: Duration,
) -> Option<Owned<sys::rd_kafka_AdminOptions_t>> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the options are checked, and used before they are freed; what is said fits its buffer.
    unsafe {
        let options =
            owned(sys::rd_kafka_AdminOptions_new(client, operation), sys::rd_kafka_AdminOptions_destroy)?;
        let mut said = [0 as c_char; 64];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, said.as_mut_ptr(), said.len());
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        drop(owned(error, sys::rd_kafka_error_destroy));
        Some(options)
    }
}
