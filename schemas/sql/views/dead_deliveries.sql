-- What was given up. A new endpoint with `since` sends it again.

CREATE OR REPLACE VIEW dead_deliveries
(
    program LowCardinality(String) COMMENT 'Program.',
    endpoint LowCardinality(String) COMMENT 'Id of the endpoint within the program.',
    type String COMMENT 'Type of the message, such as lead.credited.',
    message_id UUID COMMENT 'Id of the message: a hash of what it is about and of its revision.',
    lead_id UUID COMMENT 'Event id of the lead that it is about.',
    attempts UInt32 COMMENT 'Tries so far.',
    status UInt16 COMMENT 'HTTP status of the last try; 0: there was no answer.',
    error String COMMENT 'What went wrong in the last try; empty: nothing.',
    first_at DateTime64(3, 'UTC') COMMENT 'When the first was.',
    last_at DateTime64(3, 'UTC') COMMENT 'When the last was.'
)
AS
SELECT s.program AS program, s.endpoint AS endpoint, s.type AS type, s.message_id AS message_id, s.lead_id AS lead_id,
    s.attempts AS attempts, s.status AS status, s.error AS error, s.first_at AS first_at, s.last_at AS last_at
FROM delivery_states AS s
WHERE s.state = 'dead'
ORDER BY program, endpoint, last_at
COMMENT 'Messages that were given up.';
