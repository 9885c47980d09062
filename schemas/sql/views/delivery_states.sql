CREATE OR REPLACE VIEW delivery_states
(
    program LowCardinality(String) COMMENT 'Program.',
    endpoint LowCardinality(String) COMMENT 'Id of the endpoint within the program.',
    message_id UUID COMMENT 'Id of the message: a hash of what it is about and of its revision.',
    type String COMMENT 'Type of the message, such as lead.credited.',
    lead_id UUID COMMENT 'Event id of the lead that it is about.',
    state String COMMENT 'delivered, dead (given up) or retry.',
    attempts UInt32 COMMENT 'Tries so far.',
    status UInt16 COMMENT 'HTTP status of the last try; 0: there was no answer.',
    error String COMMENT 'What went wrong in the last try; empty: nothing.',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first was.',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last was.',
    next_at DateTime64(3, 'UTC') COMMENT 'When it is tried again.'
)
AS
SELECT
    program, endpoint, message_id, any(d.type) AS type, any(d.lead_id) AS lead_id,
    multiIf(countIf(d.outcome = 'delivered') > 0, 'delivered', countIf(d.outcome = 'dead') > 0, 'dead', 'retry') AS state,
    max(d.attempt) AS attempts,
    argMax(d.status, (d.attempt, d.started_at)) AS status,
    toString(argMax(d.error, (d.attempt, d.started_at))) AS error,
    min(d.started_at) AS first_at,
    max(d.started_at) AS last_at,
    argMax(d.next_at, (d.attempt, d.started_at)) AS next_at
FROM deliveries AS d
GROUP BY program, endpoint, message_id
COMMENT 'Each message that was tried, as it stands with each endpoint.';
