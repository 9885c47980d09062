//! The processes: an engine, an ingest and two aggregators of one group, which are killed.

use std::mem::ManuallyDrop;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use whence_aggregator::kafka::read_commit;

use crate::support::{DEADLINE, POLL, Role, brokers::Shared, is_running, kill, until};

/// Of the conversions: more than one for each aggregator.
pub const PARTITIONS: i32 = 4;
const NAMES: [&str; 2] = ["a", "b"];
const REPLAYED: &str = "whence_blocks_replayed_total";
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// An aggregator; none while it is dead.
struct Member {
    role: Option<Role>,
    /// What its log had when it started last.
    log_before: usize,
}

/// All of them.
pub struct Group {
    pub ingest: Role,
    pub key: String,
    members: [Member; 2],
    pub clickhouse: Role,
    /// Asks what the group has committed; not a member of it. Never closed: for one that is in no group librdkafka
    /// takes seconds to.
    committed: ManuallyDrop<BaseConsumer>,
    topic: String,
    aggregate: Vec<String>,
    /// Of both aggregators, so far.
    lives: usize,
    replayed_by_dead: u64,
    met: u64,
    // Dropped last: the roles write into it.
    shared: Shared,
}

impl Group {
    pub fn start() -> Self {
        let shared = Shared::new("killed");
        let Shared { brokers, prefix, secrets, key_file, .. } = &shared;
        let bus = shared.bus();
        shared.make_topics(1, PARTITIONS.unsigned_abs());
        let ingest = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
        let ingest = Role::start(&shared.place("ingest"), &[&ingest[..], &bus].concat());
        let clickhouse = shared.migrated();
        let url = clickhouse.address("clickhouse");
        let store = ["--clickhouse-url", &url];
        let blocks = ["--linger", "50ms", "--log", "info,whence_aggregator=debug"];
        let group = ["--kafka-group", prefix, "--kafka-session-timeout", "3s"];
        let aggregate = ["aggregate", "--secrets-file", secrets];
        let aggregate = [&aggregate[..], &bus, &store, &blocks, &group].concat();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", prefix);
        let mut all = Self {
            ingest,
            key: shared.key.clone(),
            members: NAMES.map(|_| Member { role: None, log_before: 0 }),
            clickhouse,
            committed: ManuallyDrop::new(config.create().unwrap()),
            topic: format!("{prefix}whence.conversions"),
            aggregate: aggregate.iter().map(|&flag| flag.to_owned()).collect(),
            lives: 0,
            replayed_by_dead: 0,
            met: 0,
            shared,
        };
        (0..NAMES.len()).for_each(|member| all.start_member(member));
        all.members.iter().for_each(|member| member.role.as_ref().unwrap().until_ready());
        all.ingest.until_ready();
        all
    }

    fn start_member(&mut self, member: usize) {
        let name = NAMES[member];
        let flags = self.aggregate.iter().map(String::as_str);
        // Several blocks of each partition between two kills. What is left open is replayed as it was cut.
        let records_max = [23, 11, 41][self.lives % 3].to_string();
        self.lives += 1;
        let own = ["--kafka-member", name, "--block-records-max", &records_max];
        let flags: Vec<&str> = flags.chain(own).collect();
        let role = Role::start(&self.shared.place(name), &flags);
        let log_before = role.log().len();
        self.members[member] = Member { role: Some(role), log_before };
    }

    /// Starts a dead aggregator again, under its name and in its folder.
    pub fn restart(&mut self, member: usize) {
        self.start_member(member);
        self.members[member].role.as_ref().unwrap().until_ready();
    }

    /// The blocks whose intent stands committed, as the log of their owner names them.
    pub fn open_blocks(&self) -> Vec<String> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, PARTITIONS - 1);
        let committed = self.committed.committed_offsets(asked, BROKER_TIMEOUT).unwrap();
        let open = committed.elements().into_iter().filter_map(|element| {
            let first = u64::try_from(element.offset().to_raw()?).ok()?;
            let end = read_commit(first, element.metadata()).unwrap().0.intent?;
            Some(format!("partition=conversions-{} first={first} end={end}", element.partition()))
        });
        open.collect()
    }

    /// How many of these blocks it has begun in this life.
    fn begun(&self, member: usize, blocks: &[String]) -> usize {
        let Member { role, log_before } = &self.members[member];
        let log = role.as_ref().unwrap().log();
        let begun = |block: &&String| log[*log_before..].lines().any(|line| line.ends_with(block.as_str()));
        blocks.iter().filter(begun).count()
    }

    /// Whether it has a block open.
    pub fn is_in_block(&self, member: usize) -> bool {
        self.begun(member, &self.open_blocks()) > 0
    }

    /// Kills an aggregator. Returns how many blocks it has left open.
    pub fn kill(&mut self, member: usize) -> u64 {
        let role = self.members[member].role.as_ref().unwrap();
        self.replayed_by_dead += role.counter(REPLAYED);
        kill(role.pid(), libc::SIGKILL);
        until("it is dead", || (!is_running(role.pid())).then_some(()));
        // What it left open stays so until somebody replays it: nobody else may before the session has timed out.
        let met = self.begun(member, &self.open_blocks()) as u64;
        self.members[member].role.take().unwrap().kill();
        self.met += met;
        met
    }

    /// Replays of all lives, by the metric.
    pub fn replays(&self) -> u64 {
        let living = self.members.iter().filter_map(|member| member.role.as_ref());
        self.replayed_by_dead + living.map(|role| role.counter(REPLAYED)).sum::<u64>()
    }

    /// Waits until each block that was left open is replayed.
    pub fn until_replayed(&self) {
        until("what was left open is replayed", || (self.replays() >= self.met).then_some(()));
    }

    /// Polls until the query gives this number, for as long as it changes; else shows what the aggregators are at.
    pub fn until_count(&self, sql: &str, wanted: u64) {
        let (mut last, mut changed) = (None, Instant::now());
        while last != Some(wanted) {
            if changed.elapsed() > DEADLINE {
                let log = |member: &Member| member.role.as_ref().map(Role::log).unwrap_or_default();
                let logs: Vec<String> = self.members.iter().map(log).collect();
                let tails = logs.iter().map(|log| &log[log.len() - log.len().min(20_000)..]);
                let tails = tails.collect::<Vec<_>>().join("\n---\n");
                let open = self.open_blocks();
                panic!("{sql} gives {last:?}, not {wanted}; open: {open:?}; logs:\n{tails}");
            }
            thread::sleep(POLL);
            let now = self.clickhouse.count(sql);
            if now != last {
                (last, changed) = (now, Instant::now());
            }
        }
    }

    /// Nothing that the engine is asked is answered from here on.
    pub fn stop_engine(&self) {
        kill(self.clickhouse.pid(), libc::SIGSTOP);
    }

    /// It goes on where it was stopped, also with what the dead had asked.
    pub fn go_on_engine(&self) {
        kill(self.clickhouse.pid(), libc::SIGCONT);
    }

    /// Ends all in order.
    pub fn end(self) {
        let living = self.members.into_iter().filter_map(|member| member.role);
        for role in [self.ingest].into_iter().chain(living).chain([self.clickhouse]) {
            let log = role.log();
            assert!(role.stop().success(), "{log}");
        }
    }
}
