// kafkajs: the scenarios of README.md. Its own code knows gzip only; snappy (kafkajs-snappy), lz4 (@platformatic/wasm-utils)
// and zstd (node:zlib) are plugged in, as its documentation tells users to. (lz4js writes frames with linked blocks,
// which Apache Kafka refuses.)

import zlib from 'node:zlib'
import { promisify } from 'node:util'
import { lz4Compress, lz4Decompress } from '@platformatic/wasm-utils'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { BASE_TIMESTAMP_MS, CODECS, PARTITIONS, RECORDS, Received, check, equal, main, record, until } from './common.js'

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4Compress(encoder.buffer),
  decompress: async buffer => lz4Decompress(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => promisify(zlib.zstdCompress)(encoder.buffer),
  decompress: async buffer => promisify(zlib.zstdDecompress)(buffer)
})
const COMPRESSION = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

const kafka = options => new Kafka({ clientId: 'odradek-test', brokers: [options.bootstrap], logLevel: logLevel.NOTHING })

async function withAdmin(options, work) {
  const admin = kafka(options).admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

async function create(options, topic, partitions = PARTITIONS) {
  await withAdmin(options, async admin => {
    await admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }] })
    await until(`${topic} to be there`, () => exists(admin, topic))
  })
  return topic
}

/** kafkajs' own waitForLeaders gives up at the first answer that does not know the new topic yet. */
async function exists(admin, topic) {
  try {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length > 0
  } catch (failure) {
    if (failure.type === 'UNKNOWN_TOPIC_OR_PARTITION') return false
    throw failure
  }
}

async function produce(options, topic, first, last, partitions, { idempotent = false, codec = 'none' } = {}) {
  const producer = kafka(options).producer({ idempotent, maxInFlightRequests: 1, createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  for (let start = first; start < last; start += 250) {
    const messages = []
    for (let i = start; i < Math.min(last, start + 250); i++) {
      const { key, value, headers, timestampMs } = record(i)
      messages.push({ key, value, headers: Object.fromEntries(headers), timestamp: String(timestampMs), partition: i % partitions })
    }
    const answers = await producer.send({ topic, acks: -1, compression: COMPRESSION[codec], messages })
    for (const { partition, baseOffset, errorCode } of answers) {
      equal([errorCode, Number(baseOffset)], [0, Math.ceil((start - partition) / partitions)], `error code and base offset of partition ${partition} at record ${start}`)
    }
  }
  await producer.disconnect()
}

function takeInto(received) {
  return async ({ partition, message }) =>
    received.add(partition, message.offset, message.key, message.value, Object.entries(message.headers ?? {}), message.timestamp)
}

const member = (options, groupId) => kafka(options).consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 1000, rebalanceTimeout: 10_000, maxWaitTimeInMs: 200 })

/** Reads whole topics with one group: joining costs seconds, and this client cannot read without a group. */
async function readAll(options, names) {
  const received = new Map(names.map(topic => [topic, new Received(topic, PARTITIONS)]))
  const consumer = member(options, `${names[0]}-${options.prefix}-alone`)
  await consumer.connect()
  await consumer.subscribe({ topics: names, fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: payload => takeInto(received.get(payload.topic))(payload) })
  await until(`${RECORDS} records of each of ${names}`, () => [...received.values()].every(each => each.count >= RECORDS))
  await consumer.disconnect()
  for (const topic of names) {
    equal(received.get(topic).duplicates, 0, `${topic}: records seen twice`)
    const ends = await withAdmin(options, admin => admin.fetchTopicOffsets(topic))
    equal(ends.reduce((sum, each) => sum + Number(each.high), 0), RECORDS, `${topic}: end offsets`)
  }
}

async function topics(options) {
  const topic = `${options.prefix}-topics`
  await withAdmin(options, async admin => {
    const wanted = { waitForLeaders: false, topics: [{ topic, numPartitions: 5, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '3600000' }] }] }
    equal(await admin.createTopics(wanted), true, 'creating a topic')
    equal(await admin.createTopics(wanted), false, 'creating a topic twice')
    await until('the new topic in the list', async () => (await admin.listTopics()).includes(topic))
    const [described] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
    equal(described.partitions.length, 5, 'partitions described')
    check(described.partitions.every(each => each.leader >= 0 && each.isr.length === 1), 'a partition has no leader or not one in-sync replica')
    const configs = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }] })
    equal(configs.resources[0].configEntries[0].configValue, '3600000', 'retention.ms described')
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
  const joined = { consumer, owned: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { joined.owned = payload.memberAssignment[topic] ?? [] })
  consumer.on(consumer.events.REBALANCING, () => { joined.owned = [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommitInterval: 500, eachMessage: takeInto(received) })
  return joined
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
  await second.consumer.disconnect()
  await until('the first member to own all again', () => first.owned.length === 6)
  await produce(options, topic, 1200, 1500, 6)
  await until('1500 records', () => received.count === 1500)
  await first.consumer.disconnect()
  const [committed] = await withAdmin(options, admin => admin.fetchOffsets({ groupId: name, topics: [topic] }))
  equal(committed.partitions.map(each => each.offset), Array(6).fill('250'), 'committed offsets')
  return `${received.duplicates} redelivered`
}

async function time(options) {
  const topic = await create(options, `${options.prefix}-time`, 1)
  await produce(options, topic, 0, RECORDS, 1)
  await withAdmin(options, async admin => {
    for (const [at, wanted] of [[BASE_TIMESTAMP_MS + 500_000, '500'], [BASE_TIMESTAMP_MS + 500_001, '501'], [1, '0'], [BASE_TIMESTAMP_MS + 10_000_000, String(RECORDS)]]) {
      equal((await admin.fetchTopicOffsetsByTimestamp(topic, at))[0].offset, wanted, `offset for time ${at}`)
    }
  })
  const received = new Received(topic, 1)
  const consumer = member(options, `${topic}-alone`)
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: takeInto(received) })
  consumer.seek({ topic, partition: 0, offset: '500' })
  await until('the records after the seek', () => received.count >= 500)
  check(received.seen.has(500) && !received.seen.has(499), 'the seek went elsewhere')
  await consumer.disconnect()
}

async function offsets(options) {
  const name = `${options.prefix}-offsets`
  const topic = await create(options, name, 1)
  await produce(options, topic, 0, RECORDS, 1)
  await withAdmin(options, async admin => {
    await admin.setOffsets({ groupId: name, topic, partitions: [{ partition: 0, offset: '123' }] })
    equal((await admin.fetchOffsets({ groupId: name, topics: [topic] }))[0].partitions[0].offset, '123', 'committed offset')
    const received = new Received(topic, 1)
    const consumer = member(options, name)
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ autoCommit: false, eachMessage: takeInto(received) })
    await until('the records after the committed offset', () => received.count >= RECORDS - 123)
    check(received.seen.has(123) && !received.seen.has(122), 'the group went on elsewhere')
    await consumer.commitOffsets([{ topic, partition: 0, offset: '200', metadata: 'a note' }])
    await consumer.disconnect()
    const [back] = (await admin.fetchOffsets({ groupId: name, topics: [topic] }))[0].partitions
    equal([back.offset, back.metadata], ['200', 'a note'], 'committed offset and metadata')
    await admin.deleteGroups([name])
    equal((await admin.fetchOffsets({ groupId: name, topics: [topic] }))[0].partitions[0].offset, '-1', 'committed offset after the group is deleted')
  })
}

async function administer(options) {
  const name = `${options.prefix}-admin`
  const topic = await create(options, name, 2)
  await produce(options, topic, 0, RECORDS, 2)
  await withAdmin(options, async admin => {
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '7200000' }] }] })
    await until('the changed config', async () => {
      const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }] })
      return resources[0].configEntries[0].configValue === '7200000'
    })
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    await until('four partitions', async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 4)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '100' }] })
    equal((await admin.fetchTopicOffsets(topic)).find(each => each.partition === 0).low, '100', 'log start after deleting records')
    const received = new Received(topic, 2)
    const joined = await join(options, name, topic, received)
    await until('the records that are left', () => received.count >= RECORDS - 100)
    const { groups: [described] } = await admin.describeGroups([name])
    equal([described.state, described.members.length], ['Stable', 1], 'state and members described')
    check((await admin.listGroups()).groups.some(each => each.groupId === name), 'the group is not listed')
    await joined.consumer.disconnect()
    const cluster = await admin.describeCluster()
    check(cluster.clusterId && cluster.brokers.length && cluster.controller !== null, 'the cluster has no id, controller or node')
  })
}

async function cross(options) {
  await readAll(options, options.read)
  return `${options.read.length} topics of other clients`
}

await main('kafkajs', {
  topics, produce: options => produceEveryCodec(options, false), idempotent: options => produceEveryCodec(options, true),
  group, time, offsets, admin: administer, cross
})
