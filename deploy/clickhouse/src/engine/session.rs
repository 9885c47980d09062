//! One connection to the engine, for one statement.
//!
//! A connection costs about 65 µs to open and close (measured, 26.7.3), less than a `SELECT 1`, so a
//! session is opened for every statement: its settings, its current database, its temporary tables and
//! whatever state a failed statement leaves behind go with it, and nothing leaks into the next one.
//!
//! Every call blocks; callers run a session from start to end on one thread of their own.

use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;

use super::ffi::{self, Api};
use super::{EngineError, Exception, Shared};

/// Named values for `{name:Type}` placeholders, in ClickHouse's escaped text form.
pub type Params = [(String, String)];

/// What a statement did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Output of the statement, unless it went elsewhere.
    pub output: Vec<u8>,
    /// Rows read from tables.
    pub rows_read: u64,
    /// Bytes read from tables, uncompressed.
    pub bytes_read: u64,
    /// Rows of the result.
    pub rows_produced: u64,
    /// Rows written, those of materialized views included.
    pub rows_written: u64,
    /// Bytes written, those of materialized views included.
    pub bytes_written: u64,
}

/// An open connection.
pub struct Session {
    shared: Arc<Shared>,
    connection: NonNull<ffi::Connection>,
}

// SAFETY: the library binds no connection to a thread; `&mut self` keeps statements one at a time.
unsafe impl Send for Session {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl Sync for Session {}

impl Session {
    /// Opens a connection whose settings are the engine's defaults and then `settings`.
    ///
    /// Only names the engine knows may be passed: it takes others for options of its own. `None` from
    /// the engine most often means a value that a setting cannot have.
    pub(super) fn open(shared: Arc<Shared>, settings: &[(String, String)]) -> Result<Self, EngineError> {
        let mut arguments = shared.arguments.clone();
        for (name, value) in settings {
            arguments.push(CString::new(format!("--{name}={value}")).map_err(|_| EngineError::Nul)?);
        }
        let mut pointers: Vec<*mut c_char> =
            arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let count = i32::try_from(pointers.len()).map_err(|_| EngineError::Nul)?;
        // SAFETY: the engine reads the arguments during the call and keeps copies.
        let connection = unsafe { (shared.api.connect)(count, pointers.as_mut_ptr()) };
        match NonNull::new(connection) {
            Some(connection) => Ok(Self { shared, connection }),
            None => Err(EngineError::Connect { log: shared.log.clone() }),
        }
    }

    fn handle(&self) -> ffi::Connection {
        // SAFETY: not null, and boxed by the engine until `close`.
        unsafe { *self.connection.as_ptr() }
    }

    /// Runs one statement and returns its output in `format`, or in the format the statement names.
    ///
    /// # Errors
    /// The engine's exception.
    pub fn query(&mut self, sql: &[u8], format: &str, params: &Params) -> Result<Answer, EngineError> {
        let params = ParamPointers::new(params);
        let api = self.shared.api;
        // SAFETY: every pointer comes with its length and outlives the call.
        let result = unsafe {
            (api.query)(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                params.names.as_ptr(),
                params.name_lengths.as_ptr(),
                params.values.as_ptr(),
                params.value_lengths.as_ptr(),
                params.names.len(),
            )
        };
        ResultGuard { api, result }.answer()
    }

    /// Makes `database` the one that unqualified names are looked up in.
    ///
    /// # Errors
    /// The engine's exception, such as 81 for a database that is not there.
    pub fn use_database(&mut self, database: &str) -> Result<(), EngineError> {
        let quoted = database.replace('\\', "\\\\").replace('`', "\\`");
        self.query(format!("USE `{quoted}`").as_bytes(), "Null", &[]).map(drop)
    }

    /// Inserts `chunks`, which together are one whole body in `format`, through the engine's insert
    /// stream. `sql` is the statement up to, and without, its `FORMAT` clause.
    ///
    /// The caller must hold the whole body and have checked it: a stream that ends early is *stored*
    /// as far as it went, and the full retry under the same deduplication token is then swallowed.
    ///
    /// # Errors
    /// The engine's exception. Nothing was stored unless the body spans several insert blocks.
    pub fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        params: &Params,
        chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Answer, EngineError> {
        let mut stream = self.open_insert(sql, format, params)?;
        for chunk in chunks {
            if !stream.append(chunk.as_ref()) {
                break;
            }
        }
        stream.finish()
    }

    /// Opens an insert stream; see [`Self::insert`] for what the caller owes it.
    ///
    /// # Errors
    /// The engine's exception, such as an unknown table or format.
    pub(crate) fn open_insert(
        &mut self,
        sql: &[u8],
        format: &str,
        params: &Params,
    ) -> Result<InsertStream<'_>, EngineError> {
        let params = ParamPointers::new(params);
        let api = self.shared.api;
        // SAFETY: every pointer comes with its length and outlives the call.
        let stream = unsafe {
            (api.insert_open)(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                params.names.as_ptr(),
                params.name_lengths.as_ptr(),
                params.values.as_ptr(),
                params.value_lengths.as_ptr(),
                params.names.len(),
            )
        };
        let stream = InsertStream { api, stream, _session: self };
        match stream.error() {
            Some(exception) => Err(exception.into()),
            None => Ok(stream),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: opened by this session and closed once; its streams borrow it and are gone.
        unsafe { (self.shared.api.close)(self.connection.as_ptr()) };
    }
}

/// An insert in progress. Dropped unfinished, it is cancelled, but rows of blocks that were already
/// written stay.
pub(crate) struct InsertStream<'session> {
    api: &'static Api,
    stream: ffi::InsertHandle,
    _session: &'session mut Session,
}

impl InsertStream<'_> {
    /// Hands over the next bytes, waiting while the engine is behind. `false` once the insert failed:
    /// `finish` then says why.
    pub fn append(&mut self, chunk: &[u8]) -> bool {
        // SAFETY: the engine copies the bytes during the call.
        unsafe { (self.api.insert_append)(self.stream, chunk.as_ptr(), chunk.len()) == 0 }
    }

    /// Ends the body and waits until its rows are stored.
    ///
    /// # Errors
    /// The engine's exception.
    pub fn finish(self) -> Result<Answer, EngineError> {
        // SAFETY: the stream is open; the handle itself is freed by `drop`.
        let result = unsafe { (self.api.insert_done)(self.stream) };
        ResultGuard { api: self.api, result }.answer()
    }

    fn error(&self) -> Option<Exception> {
        // SAFETY: the handle is valid, and never null by the library's word.
        unsafe { ffi::text((self.api.insert_error)(self.stream)) }.map(|text| Exception::parse(&text))
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once; the library asks for it on every path.
        unsafe { (self.api.destroy_insert)(self.stream) };
    }
}

/// A result handle that is freed on every path.
struct ResultGuard {
    api: &'static Api,
    result: ffi::ResultHandle,
}

impl ResultGuard {
    fn answer(&self) -> Result<Answer, EngineError> {
        let (api, result) = (self.api, self.result);
        // SAFETY: the handle is valid until `drop`, and so are the error and the buffer.
        unsafe {
            if let Some(text) = ffi::text((api.result_error)(result)) {
                return Err(Exception::parse(&text).into());
            }
            let (buffer, length) = ((api.result_buffer)(result), (api.result_length)(result));
            let output = if buffer.is_null() || length == 0 {
                Vec::new()
            } else {
                std::slice::from_raw_parts(buffer, length).to_vec()
            };
            Ok(Answer {
                output,
                rows_read: (api.rows_read)(result),
                bytes_read: (api.bytes_read)(result),
                rows_produced: (api.rows_produced)(result),
                rows_written: (api.rows_written)(result),
                bytes_written: (api.bytes_written)(result),
            })
        }
    }
}

impl Drop for ResultGuard {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { (self.api.destroy_result)(self.result) };
    }
}

/// Parallel arrays of parameter names and values, as the library takes them.
struct ParamPointers {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl ParamPointers {
    fn new(params: &Params) -> Self {
        Self {
            names: params.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: params.iter().map(|(name, _)| name.len()).collect(),
            values: params.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: params.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}
