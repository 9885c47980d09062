//! Between a replica and Keeper: loses a chosen transaction, or the answer to it, as a network does that fails at the
//! worst moment.
//!
//! Reads as much of ZooKeeper's protocol as that takes (`zookeeper.jute` in its source): each message is a length of four
//! bytes, big-endian like all numbers, and so many bytes. The first one of either side opens the session. Every later
//! request begins with its number and its kind, every later answer with the number of its request, four bytes each.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The kind of a request that does several things or none of them: `OpCode.multi`.
const MULTI: i32 = 14;
/// No message is longer (`jute.maxbuffer`, with room to spare).
const MESSAGE_MAX: usize = 16 << 20;

/// What becomes of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Keeper never gets it, and the replica's connection ends.
    LoseRequest,
    /// Keeper answers it, and the replica's connection ends instead.
    LoseAnswer,
    /// Keeper gets it when [`KeeperProxy::release`] is called. What the replica asks meanwhile is passed on.
    Hold,
    /// None: it is waited for.
    Pass,
}

/// A listener that a replica takes for Keeper. Its connections end when it is dropped.
#[derive(Debug)]
pub struct KeeperProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    keeper: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next fault, and texts that its transaction has in it.
    armed: Option<(Fault, Vec<String>)>,
    has_happened: bool,
    is_released: bool,
    /// Both ends of each connection.
    connections: Vec<[TcpStream; 2]>,
    is_closed: bool,
}

/// The request of a connection whose answer is awaited, by its number.
type Awaited = Mutex<Option<(i32, Fault)>>;

impl KeeperProxy {
    /// A proxy before this Keeper, on a free port.
    ///
    /// # Errors
    /// There is no port or no thread.
    pub fn start(keeper: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { keeper, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        spawn(move || accepting.accept(&listener))?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has the next transaction that has all of these texts in it meet this fault, instead of one that was named before.
    pub fn arm<T: Into<String>>(&self, fault: Fault, texts: impl IntoIterator<Item = T>) {
        let mut state = self.shared.state();
        state.armed = Some((fault, texts.into_iter().map(Into::into).collect()));
        (state.has_happened, state.is_released) = (false, false);
    }

    /// Whether the fault that was armed has happened: the request is lost or held, or its answer has come.
    #[must_use]
    pub fn has_happened(&self) -> bool {
        self.shared.state().has_happened
    }

    /// Waits for that.
    ///
    /// # Panics
    /// If it has not after `at_most`.
    pub fn until_happened(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        let mut state = self.shared.state();
        while !state.has_happened {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let armed = state.armed.take();
                // Whoever fails drops the proxy, which asks for the state again.
                drop(state);
                panic!("the transaction never came: {armed:?}");
            }
            state =
                self.shared.changed.wait_timeout(state, left).expect("nothing panics while it holds it").0;
        }
    }

    /// Sends Keeper what is held.
    pub fn release(&self) {
        self.shared.state().is_released = true;
        self.shared.changed.notify_all();
    }

    /// Ends the replica's connections; it may make new ones.
    pub fn cut(&self) {
        self.shared.state().cut();
    }
}

impl Drop for KeeperProxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        state.is_released = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn cut(&mut self) {
        self.connections.drain(..).flatten().for_each(|stream| end(&stream));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds it")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((replica, _)) = listener.accept() {
            if self.state().is_closed {
                return;
            }
            // Where Keeper is not there the connection ends, as it would without a proxy.
            let _ = self.connect(replica);
        }
    }

    fn connect(self: &Arc<Self>, replica: TcpStream) -> io::Result<()> {
        let keeper = TcpStream::connect_timeout(&self.keeper, Duration::from_secs(1))?;
        replica.set_nodelay(true)?;
        keeper.set_nodelay(true)?;
        self.state().connections.push([replica.try_clone()?, keeper.try_clone()?]);
        let awaited = Arc::new(Awaited::default());
        let (asked, shared) = (Arc::clone(&awaited), Arc::clone(self));
        let (mut from, to) = (replica.try_clone()?, Arc::new(Mutex::new(keeper.try_clone()?)));
        spawn(move || {
            let _ = shared.requests(&mut from, &to, &asked);
            end(&from);
            end(&to.lock().expect("nothing panics while it holds it"));
        })?;
        let shared = Arc::clone(self);
        let (mut from, mut to) = (keeper, replica);
        spawn(move || {
            let _ = shared.answers(&mut from, &mut to, &awaited);
            end(&from);
            end(&to);
        })
    }

    fn requests(
        self: &Arc<Self>,
        from: &mut TcpStream,
        to: &Arc<Mutex<TcpStream>>,
        awaited: &Awaited,
    ) -> io::Result<()> {
        let send = |to: &Mutex<TcpStream>, message: &[u8]| {
            write(&mut to.lock().expect("nothing panics while it holds it"), message)
        };
        send(to, &read(from)?)?;
        loop {
            let message = read(from)?;
            let Some(fault) = self.fault_of(&message) else {
                send(to, &message)?;
                continue;
            };
            match fault {
                Fault::LoseRequest => {
                    self.happened();
                    return Ok(());
                }
                Fault::Hold => {
                    self.happened();
                    let (shared, to) = (Arc::clone(self), Arc::clone(to));
                    spawn(move || {
                        shared.until_released();
                        let _ = send(&to, &message);
                    })?;
                }
                Fault::LoseAnswer | Fault::Pass => {
                    let number = number(&message, 0).map(|number| (number, fault));
                    *awaited.lock().expect("nothing panics while it holds it") = number;
                    send(to, &message)?;
                }
            }
        }
    }

    fn answers(&self, from: &mut TcpStream, to: &mut TcpStream, awaited: &Awaited) -> io::Result<()> {
        write(to, &read(from)?)?;
        loop {
            let message = read(from)?;
            let mut awaited = awaited.lock().expect("nothing panics while it holds it");
            let answered = awaited.take_if(|(awaited, _)| number(&message, 0) == Some(*awaited));
            drop(awaited);
            match answered {
                Some((_, Fault::LoseAnswer)) => {
                    self.happened();
                    return Ok(());
                }
                Some(_) => {
                    write(to, &message)?;
                    self.happened();
                }
                None => write(to, &message)?,
            }
        }
    }

    /// The fault that this request is to meet, once.
    fn fault_of(&self, request: &[u8]) -> Option<Fault> {
        if number(request, 4) != Some(MULTI) {
            return None;
        }
        let has = |text: &String| request.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        let armed = self.state().armed.take_if(|(_, texts)| texts.iter().all(has));
        armed.map(|(fault, _)| fault)
    }

    fn happened(&self) {
        self.state().has_happened = true;
        self.changed.notify_all();
    }

    fn until_released(&self) {
        let mut state = self.state();
        while !state.is_released {
            state = self.changed.wait(state).expect("nothing panics while it holds it");
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("keeper-proxy".into()).spawn(run).map(drop)
}

fn end(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is none of ZooKeeper's")));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(message)
}

fn write(to: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), message].concat())
}

/// The number at this byte of a message.
fn number(message: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*message.get(at..)?.first_chunk()?))
}
