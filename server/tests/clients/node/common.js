// What the Node.js client programs share: the records every client writes, the checks on what comes back, and the
// command line. README.md of the folder above describes the scenarios.

export const RECORDS = 1000
export const PARTITIONS = 3
// Of record 0. A run gives all its programs the same recent time: a server may remove what is older than its retention.
export const BASE_TIMESTAMP_MS = Number(process.env.TEST_BASE_TIMESTAMP_MS ?? 1_700_000_000_000)
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** What a scenario found wrong, in words. */
export class Failure extends Error {}

/** Record number `i` of every test topic: the same in every language. */
export function record(i) {
  return {
    key: i % 7 === 0 ? null : Buffer.from(`key-${String(i).padStart(6, '0')}`),
    value: i % 13 === 0 && i % 7 !== 0 ? null : Buffer.from(`value-${String(i).padStart(6, '0')}-${String.fromCharCode(97 + (i % 26)).repeat(i % 200)}`),
    headers: i % 5 === 0 ? [] : [['n', Buffer.from(String(i))], ['raw', Buffer.from([0, 255, i % 256])]],
    timestampMs: BASE_TIMESTAMP_MS + i * 1000
  }
}

export function check(condition, message) {
  if (!condition) throw new Failure(message)
}

const shown = value => JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each))

export function equal(got, wanted, what) {
  if (shown(got) !== shown(wanted)) throw new Failure(`${what}: got ${shown(got)}, expected ${shown(wanted)}`)
}

export const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Calls `attempt` until it gives something true, which is returned; at most 30 s. */
export async function until(what, attempt) {
  const deadline = Date.now() + 30_000
  for (;;) {
    const result = await attempt()
    if (result) return result
    if (Date.now() > deadline) throw new Failure(`${what}: not within 30 s`)
    await sleep(20)
  }
}

/** Collects what came back and compares it with what was written (record i at offset i / partitions). */
export class Received {
  constructor(topic, partitions) {
    this.topic = topic
    this.partitions = partitions
    this.seen = new Set()
    this.duplicates = 0
    this.wrong = null
  }

  /** Called from a client's own callbacks: what is wrong is kept, and thrown by `count`. */
  add(partition, offset, key, value, headers, timestampMs) {
    const i = Number(offset) * this.partitions + partition
    const wanted = record(i)
    const bytes = value => (value === null || value === undefined ? null : value.toString('latin1'))
    try {
      const where = `${this.topic}-${partition} offset ${offset}`
      equal(bytes(key), bytes(wanted.key), `${where} key`)
      equal(bytes(value), bytes(wanted.value), `${where} value`)
      equal(headers.map(([name, raw]) => [String(name), bytes(raw)]), wanted.headers.map(([name, raw]) => [name, bytes(raw)]), `${where} headers`)
      equal(Number(timestampMs), wanted.timestampMs, `${where} timestamp`)
    } catch (failure) {
      this.wrong ??= failure
    }
    if (this.seen.has(i)) this.duplicates++
    this.seen.add(i)
  }

  get count() {
    if (this.wrong) throw this.wrong
    return this.seen.size
  }
}

/** Runs one scenario: an object of name -> async function(options); prints `ok CLIENT SCENARIO` or the reason. */
export async function main(client, scenarios) {
  const given = {}
  for (let at = 2; at + 1 < process.argv.length; at += 2) given[process.argv[at]] = process.argv[at + 1]
  const scenario = given['--scenario']
  const options = { bootstrap: given['--bootstrap'], prefix: `${given['--topic-prefix']}-${client}`, read: (given['--read'] ?? '').split(',').filter(Boolean) }
  try {
    check(Object.hasOwn(scenarios, scenario), 'this client has no such scenario')
    const note = await scenarios[scenario](options)
    console.log(`ok ${client} ${scenario}${note ? ` (${note})` : ''}`)
    process.exit(0)
  } catch (failure) {
    if (!(failure instanceof Failure)) console.error(failure)
    console.log(`FAIL ${client} ${scenario}: ${failure.message}`)
    process.exit(1)
  }
}
