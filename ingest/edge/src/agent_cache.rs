//! Judgements remembered by agent: a few hundred agents make nearly all traffic.

use std::{collections::HashMap, sync::Arc};

use super::{
    agents::{AGENT_BYTES_MAX, AgentList},
    fold::FoldState,
    verdict::Judgement,
};

whence_metrics::declare! {
    /// Times a core forgot its user agents because they were too many.
    counter EDGE_AGENT_CACHE_RESETS: "whence_edge_agent_cache_resets_total";
}

/// Agents remembered before the cache is emptied; at 512 bytes at most, 2 MiB a core.
pub const AGENTS_MAX: usize = 4096;

/// One core's cache.
#[derive(Debug)]
pub struct AgentCache {
    list: Arc<AgentList>,
    known: HashMap<Box<[u8]>, Judgement, FoldState>,
    agents_max: usize,
}

impl AgentCache {
    /// An empty cache before `list`.
    #[must_use]
    pub fn new(list: Arc<AgentList>, agents_max: usize) -> AgentCache {
        let known = HashMap::with_capacity_and_hasher(agents_max, FoldState(rand::random()));
        AgentCache { list, known, agents_max }
    }

    /// What the agent is.
    ///
    /// A full cache is emptied and counted in `whence_edge_agent_cache_resets_total`: who sends made-up
    /// agents costs everybody one look at the list, and nobody memory.
    pub fn judge(&mut self, agent: &[u8]) -> Judgement {
        let agent = &agent[..agent.len().min(AGENT_BYTES_MAX)];
        if let Some(judgement) = self.known.get(agent) {
            return *judgement;
        }
        if self.known.len() >= self.agents_max {
            metrics::counter!(EDGE_AGENT_CACHE_RESETS).increment(1);
            self.known.clear();
        }
        let judgement = self.list.judge(agent);
        self.known.insert(agent.into(), judgement);
        judgement
    }

    /// Agents that are remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
