// @platformatic/kafka: the scenarios of README.md.

import { Admin, Consumer, Producer, ConfigResourceTypes, IncrementalAlterConfigOperationTypes, ProduceAcks } from '@platformatic/kafka'
import { BASE_TIMESTAMP_MS, CODECS, PARTITIONS, RECORDS, Received, check, equal, main, record, until } from './common.js'

const base = options => ({ clientId: 'odradek-test', bootstrapBrokers: [options.bootstrap], retries: 10 })

async function withAdmin(options, work) {
  const admin = new Admin(base(options))
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

async function create(options, topic, partitions = PARTITIONS) {
  await withAdmin(options, async admin => {
    await admin.createTopics({ topics: [topic], partitions, replicas: 1 })
    // A plain send that finds one partition without its leader is sent again whole, and so written twice in part: wait
    // until every partition answers.
    const asked = [{ name: topic, partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: -1n })) }]
    await until(`the partitions of ${topic} to answer`, () => admin.listOffsets({ topics: asked }).then(() => true, () => false))
  })
  return topic
}

async function produce(options, topic, first, last, partitions, { idempotent = false, codec = 'none' } = {}) {
  const producer = new Producer({ ...base(options), idempotent, acks: ProduceAcks.ALL, compression: codec })
  for (let start = first; start < last; start += 250) {
    const messages = []
    for (let i = start; i < Math.min(last, start + 250); i++) {
      const { key, value, headers, timestampMs } = record(i)
      messages.push({
        topic, key: key ?? undefined, value: value ?? undefined, partition: i % partitions, timestamp: BigInt(timestampMs),
        headers: new Map(headers.map(([name, raw]) => [Buffer.from(name), raw]))
      })
    }
    const { offsets } = await producer.send({ messages })
    for (const { partition, offset } of offsets) {
      equal(Number(offset), Math.ceil((start - partition) / partitions), `base offset of partition ${partition} at record ${start}`)
    }
  }
  await producer.close()
}

const member = (options, groupId) => new Consumer({ ...base(options), groupId, sessionTimeout: 10_000, heartbeatInterval: 1000, rebalanceTimeout: 10_000, maxWaitTime: 200, autocommit: false })

/** `received`: by topic. */
function take(stream, received) {
  stream.on('data', message => received.get(message.topic).add(message.partition, message.offset, message.key, message.value, message.headerEntries, message.timestamp))
  stream.on('error', failure => { for (const each of received.values()) each.wrong ??= failure })
}

/** Reads whole topics with one group: joining costs seconds, and this client cannot read without a group. */
async function readAll(options, names) {
  const received = new Map(names.map(topic => [topic, new Received(topic, PARTITIONS)]))
  const consumer = member(options, `${names[0]}-${options.prefix}-alone`)
  const stream = await consumer.consume({ topics: names, mode: 'earliest' })
  take(stream, received)
  await until(`${RECORDS} records of each of ${names}`, () => [...received.values()].every(each => each.count >= RECORDS))
  const ends = await consumer.listOffsets({ topics: names })
  for (const topic of names) {
    equal(received.get(topic).duplicates, 0, `${topic}: records seen twice`)
    equal(ends.get(topic).reduce((sum, each) => sum + Number(each), 0), RECORDS, `${topic}: end offsets`)
  }
  await stream.close()
  await consumer.close(true)
}

/** The error itself and all that it wraps. */
const causes = failure => [failure, ...(failure.errors ?? []).flatMap(causes), ...(failure.cause ? causes(failure.cause) : [])]

async function topics(options) {
  const topic = `${options.prefix}-topics`
  await withAdmin(options, async admin => {
    const wanted = { topics: [topic], partitions: 5, replicas: 1, configs: [{ name: 'retention.ms', value: '3600000' }] }
    await admin.createTopics(wanted)
    const again = await admin.createTopics(wanted).then(() => null, failure => failure)
    check(again, 'creating a topic twice was accepted')
    check(causes(again).some(each => each.apiId === 'TOPIC_ALREADY_EXISTS'), `creating a topic twice: ${again}`)
    await until('the new topic in the list', async () => (await admin.listTopics()).includes(topic))
    const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
    equal(metadata.topics.get(topic).partitionsCount, 5, 'partitions described')
    const [described] = await admin.describeConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: ['retention.ms'] }] })
    equal(described.configs[0].value, '3600000', 'retention.ms described')
    await admin.deleteTopics({ topics: [topic] })
    await until('the topic to be gone', async () => !(await admin.listTopics()).includes(topic))
  })
}

async function produceEveryCodec(options, idempotent) {
  const written = []
  for (const codec of CODECS) {
    const topic = await create(options, `${options.prefix}-${idempotent ? 'idempotent' : 'produce'}-${codec}`)
    await produce(options, topic, 0, RECORDS, PARTITIONS, { idempotent, codec })
    written.push(topic)
  }
  await readAll(options, written)
  return `codecs ${CODECS.join(' ')}`
}

async function join(options, name, topic, received) {
  const consumer = member(options, name)
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: 300 })
  take(stream, new Map([[topic, received]]))
  return { consumer, stream, get owned() { return (consumer.assignments ?? []).filter(each => each.topic === topic).flatMap(each => each.partitions) } }
}

const leave = async joined => {
  await joined.stream.close()
  await joined.consumer.close(true)
}

async function group(options) {
  const name = `${options.prefix}-group`
  const topic = await create(options, name, 6)
  await produce(options, topic, 0, 600, 6)
  const received = new Received(topic, 6)
  const first = await join(options, name, topic, received)
  await until('the first member to own all', () => first.owned.length === 6)
  const second = await join(options, name, topic, received)
  await until('two members to share', () => first.owned.length === 3 && second.owned.length === 3)
  equal([...first.owned, ...second.owned].sort(), [0, 1, 2, 3, 4, 5], 'partitions owned by both')
  await produce(options, topic, 600, 1200, 6)
  await until('1200 records', () => received.count === 1200)
  await leave(second)
  await until('the first member to own all again', () => first.owned.length === 6)
  await produce(options, topic, 1200, 1500, 6)
  await until('1500 records', () => received.count === 1500)
  await until('everything to be committed', () => allCommitted(options, name, topic))
  await leave(first)
  return `${received.duplicates} redelivered`
}

async function allCommitted(options, name, topic) {
  const [back] = await withAdmin(options, admin => admin.listConsumerGroupOffsets({ groups: [{ groupId: name, topics: [{ name: topic, partitionIndexes: [0, 1, 2, 3, 4, 5] }] }] }))
  return back.topics[0].partitions.every(each => each.committedOffset === 250n)
}

async function time(options) {
  const topic = await create(options, `${options.prefix}-time`, 1)
  await produce(options, topic, 0, RECORDS, 1)
  const consumer = member(options, `${topic}-alone`)
  for (const [at, wanted] of [[BASE_TIMESTAMP_MS + 500_000, 500n], [BASE_TIMESTAMP_MS + 500_001, 501n], [0, 0n]]) {
    equal((await consumer.listOffsets({ topics: [topic], timestamp: BigInt(at) })).get(topic)[0], wanted, `offset for time ${at}`)
  }
  const received = new Received(topic, 1)
  const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets: [{ topic, partition: 0, offset: 500n }] })
  take(stream, new Map([[topic, received]]))
  await until('the records after the seek', () => received.count >= 500)
  check(received.seen.has(500) && !received.seen.has(499), 'the seek went elsewhere')
  await stream.close()
  await consumer.close(true)
}

async function offsets(options) {
  const name = `${options.prefix}-offsets`
  const topic = await create(options, name, 1)
  await produce(options, topic, 0, RECORDS, 1)
  await withAdmin(options, async admin => {
    await admin.alterConsumerGroupOffsets({ groupId: name, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 123n }] }] })
    const read = async () => (await admin.listConsumerGroupOffsets({ groups: [{ groupId: name, topics: [{ name: topic, partitionIndexes: [0] }] }] }))[0].topics[0].partitions[0].committedOffset
    equal(await read(), 123n, 'committed offset')
    const received = new Received(topic, 1)
    const joined = await join(options, name, topic, received)
    await until('the records after the committed offset', () => received.count >= RECORDS - 123)
    check(received.seen.has(123) && !received.seen.has(122), 'the group went on elsewhere')
    await until('the commit of all that was read', async () => (await read()) === BigInt(RECORDS))
    equal((await joined.consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0] }] })).get(topic)[0], BigInt(RECORDS), 'committed offset seen by the member')
    await leave(joined)
    await admin.deleteGroups({ groups: [name] })
    equal(await read(), -1n, 'committed offset after the group is deleted')
  })
}

async function administer(options) {
  const name = `${options.prefix}-admin`
  const topic = await create(options, name, 2)
  await produce(options, topic, 0, RECORDS, 2)
  await withAdmin(options, async admin => {
    await admin.incrementalAlterConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: [{ name: 'retention.ms', configOperation: IncrementalAlterConfigOperationTypes.SET, value: '7200000' }] }] })
    await until('the changed config', async () => {
      const [described] = await admin.describeConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: ['retention.ms'] }] })
      return described.configs[0].value === '7200000'
    })
    await admin.createPartitions({ topics: [{ name: topic, count: 4, assignments: null }] })
    await until('four partitions', async () => (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount === 4)
    const [deleted] = await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 100n }] }] })
    equal(deleted.partitions[0].lowWatermark, 100n, 'low watermark after deleting records')
    const received = new Received(topic, 2)
    const joined = await join(options, name, topic, received)
    await until('the records that are left', () => received.count >= RECORDS - 100)
    const described = (await admin.describeGroups({ groups: [name] })).get(name)
    equal([described.state.toLowerCase(), described.members.size], ['stable', 1], 'state and members described')
    check((await admin.listGroups()).has(name), 'the group is not listed')
    await leave(joined)
    const metadata = await admin.metadata({ topics: [] })
    check(metadata.id && metadata.brokers.size, 'the cluster has no id or no node')
  })
}

async function cross(options) {
  await readAll(options, options.read)
  return `${options.read.length} topics of other clients`
}

await main('platformatic', {
  topics, produce: options => produceEveryCodec(options, false), idempotent: options => produceEveryCodec(options, true),
  group, time, offsets, admin: administer, cross
})
