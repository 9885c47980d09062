CREATE TABLE deliveries
(
    program LowCardinality(String) COMMENT 'Program.',
    endpoint LowCardinality(String) COMMENT 'Id of the endpoint within the program.',
    message_id UUID COMMENT 'Id of the message: a hash of what it is about and of its revision.',
    attempt UInt32 COMMENT 'Number of the try, from 1.',
    type LowCardinality(String) COMMENT 'Type of the message, such as lead.credited.',
    lead_id UUID COMMENT 'Event id of the lead that the message is about.',
    started_at DateTime64(3, 'UTC') COMMENT 'When the try began.',
    duration_ms UInt32 COMMENT 'How long it took, in milliseconds.',
    status UInt16 COMMENT 'HTTP status; 0: there was no answer.',
    outcome Enum8('delivered' = 1, 'retry' = 2, 'dead' = 3) COMMENT 'What came of it: dead is given up.',
    error LowCardinality(String) COMMENT 'What went wrong; empty: nothing.',
    next_at DateTime64(3, 'UTC') COMMENT 'When it is tried again.'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(started_at)
ORDER BY (program, endpoint, message_id, attempt)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'The delivery log: one row a try to send a message to an endpoint.';
