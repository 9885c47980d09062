// The official JavaScript client (@clickhouse/client) against a server: client.mjs URL, where URL has the user and the
// password. Inserts rows, streams them back and compares every one, plain and packed, and sees proper errors.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createClient } from '@clickhouse/client'

const ROWS = 20_000
const url = new URL(process.argv[2])

const row = (i) => ({
  id: String(i),
  note: i % 3 === 0 ? null : `line ${i}\n\n'quoted' \\ \t é`,
  labels: { a: String(i) },
  numbers: Array.from({ length: i % 5 }, (_, n) => n),
})

function connect(compression) {
  return createClient({
    url: url.origin,
    username: url.username,
    password: url.password,
    compression,
    log: { LoggerClass: Silent },
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  })
}

// The client logs what it then raises, and some of what it raises is wanted here.
class Silent {
  trace() {}
  debug() {}
  info() {}
  warn() {}
  error() {}
}

async function roundTrip(compression) {
  const client = connect(compression)
  assert.deepEqual(await client.ping(), { success: true })
  assert.deepEqual(await client.ping({ select: true }), { success: true })
  await client.command({ query: 'DROP TABLE IF EXISTS node' })
  await client.command({
    query:
      'CREATE TABLE node (id UInt64, note Nullable(String), labels Map(String, String), numbers Array(UInt8)) ' +
      'ENGINE = MergeTree ORDER BY id',
  })
  const summary = await client.insert({
    table: 'node',
    values: Array.from({ length: ROWS }, (_, i) => row(i)),
    format: 'JSONEachRow',
  })
  assert.equal(summary.summary.written_rows, String(ROWS))
  const stored = await client.query({
    query: 'SELECT * FROM node WHERE id >= {first:UInt64} ORDER BY id',
    query_params: { first: 10 },
    format: 'JSONEachRow',
  })
  let next = 10
  for await (const rows of stored.stream()) {
    for (const found of rows) assert.deepEqual(found.json(), row(next++))
  }
  assert.equal(next, ROWS)
  const tables = await client.query({ query: 'SHOW TABLES', format: 'JSON' })
  assert.ok((await tables.json()).data.some(({ name }) => name === 'node'))
  await assert.rejects(client.query({ query: 'SELECT * FROM nowhere' }), { code: '60', type: 'UNKNOWN_TABLE' })
  await assert.rejects(client.query({ query: 'SELECT nonsense FROM' }), { code: '62', type: 'SYNTAX_ERROR' })
  await client.close()
}

await roundTrip({})
await roundTrip({ request: true, response: true })
const { version } = JSON.parse(
  readFileSync(new URL('./node_modules/@clickhouse/client/package.json', import.meta.url)),
)
console.log(`@clickhouse/client ${version}: ${2 * ROWS} rows in and back`)
