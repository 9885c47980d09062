//! Open-loop load generator that knows the truth, and the oracle that checks it.
