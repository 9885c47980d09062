-- How far each endpoint is in each partition: what stands before this position is delivered or dead. The
-- endpoint of no program and no name is the topic of facts.

CREATE TABLE delivery_checkpoints
(
    program String COMMENT 'Program; empty for the topic of facts.',
    endpoint String COMMENT 'Endpoint; empty for the topic of facts.',
    partition UInt32 COMMENT 'Partition of the conversions.',
    incarnation UUID COMMENT 'The incarnation that it is in.',
    next_offset UInt64 COMMENT 'Everything of it before this offset, and all incarnations before it, is delivered or dead.',
    saved_at DateTime64(3, 'UTC') COMMENT 'When that was.'
)
ENGINE = ReplacingMergeTree(saved_at)
ORDER BY (program, endpoint, partition)
COMMENT 'How far each endpoint is in each partition.';
