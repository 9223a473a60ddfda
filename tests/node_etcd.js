// Calls node-etcd as its users do: node node_etcd.js SCENARIO URL CA_FILE CERT_FILE KEY_FILE
// Prints a line for every step that went well; the first that does not ends it with status 1.
'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const { readFileSync } = require('node:fs')
const { promisify } = require('node:util')
const Etcd = require('node-etcd')

const [scenario, url, ca, cert, key] = process.argv.slice(2)
const secure = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) }
const etcd = new Etcd([url], secure)

// call('set', ...) gives {body, headers}; error(100, 'get', ...) the error that it ends with.
const call = (name, ...given) => new Promise((resolve, reject) => {
  etcd[name](...given, (error, body, headers) => error ? reject(error) : resolve({ body, headers }))
})
const error = async (code, name, ...given) => {
  const refusal = await call(name, ...given).then(() => assert.fail(`${name} is not refused`), (reason) => reason)
  assert.equal(refusal.errorCode, code, refusal)
  return refusal.error
}

const scenarios = {
  async keys () {
    const made = await call('set', 'a', 'one & two', { ttl: 100 })
    assert.equal(made.body.action, 'set')
    assert.equal(Number(made.headers['x-etcd-index']), made.body.node.modifiedIndex)
    const { node } = (await call('get', '/a')).body
    assert.equal(node.value, 'one & two')
    assert.ok(node.ttl === 99 || node.ttl === 100)
    assert.equal((await call('set', 'a', 'two', { prevExist: true })).body.action, 'update')
    await error(105, 'set', 'a', 'three', { prevExist: false })
    assert.equal((await error(100, 'get', 'none')).cause, '/none')
    console.log('ok set and get')

    const swapped = (await call('compareAndSwap', 'a', 'three', 'two')).body
    assert.equal(swapped.action, 'compareAndSwap')
    assert.equal(swapped.prevNode.value, 'two')
    await error(101, 'testAndSet', 'a', 'four', 'two')
    assert.equal((await call('set', 'a', 'four', { prevIndex: swapped.node.modifiedIndex })).body.node.value, 'four')
    await error(101, 'compareAndDelete', 'a', 'three')
    assert.equal((await call('compareAndDelete', 'a', 'four')).body.action, 'compareAndDelete')
    await error(100, 'del', 'a')
    console.log('ok compare')

    assert.equal((await call('mkdir', 'd')).body.node.dir, true)
    await error(102, 'mkdir', 'd')
    const names = []
    for (const value of ['x', 'y']) names.push((await call('create', 'd', value)).body.node.key)
    names.push((await call('post', 'd', 'z')).body.node.key)
    await call('set', 'd/sub/deep', 'w')
    const listed = (await call('get', 'd', { recursive: true, sorted: true })).body.node.nodes
    assert.deepEqual(listed.map((child) => child.key), [...names, '/d/sub'])
    assert.equal(listed[3].nodes[0].value, 'w')
    await error(108, 'rmdir', 'd')
    assert.equal((await call('rmdir', 'd', { recursive: true })).body.action, 'delete')
    await call('mkdir', 'e')
    assert.equal((await call('rmdir', 'e')).body.node.key, '/e')
    console.log('ok directories')

    assert.equal(etcd.setSync('s', 'sync').body.node.value, 'sync')
    assert.equal(etcd.getSync('s').body.node.value, 'sync')
    assert.equal(etcd.mkdirSync('t').err, null)
    assert.equal(etcd.rmdirSync('t').err, null)
    assert.equal(etcd.delSync('s').body.action, 'delete')
    assert.equal(etcd.getSync('s').err.errorCode, 100)
    console.log('ok synchronous')
  },

  async companions () {
    assert.equal((await call('leader')).body, url)
    assert.equal((await call('raw', 'GET', 'v2/machines', null, {})).body, url)
    const stats = (await call('selfStats')).body
    assert.equal(stats.state, 'StateLeader')
    assert.equal((await call('leaderStats')).body.leader, stats.id)
    assert.equal((await call('version')).body.etcdserver, '3.4.23')
    // It asks for the key where etcd 0.x had the machines.
    await error(100, 'machines')
    console.log('ok companions')
  },

  async refused () {
    const stranger = new Etcd([url], { ca: secure.ca })
    const reason = await promisify(stranger.set.bind(stranger))('a', 'x', { maxRetries: 0 }).catch((reason) => reason)
    assert.match(String(reason.errors[0].httperror), /certificate required/)
    await error(100, 'get', 'a')
    console.log('ok refused')
  },

  async watches () {
    // The server keeps five events.
    const { node } = (await call('set', 'w', '0')).body
    const next = call('watchIndex', 'w', node.modifiedIndex + 1)
    for (const value of '1234567') await call('set', 'w', value)
    assert.equal((await next).body.node.value, '1')
    console.log('ok watch with index')

    const watcher = etcd.watcher('w', node.modifiedIndex)
    const [lost] = await once(watcher, 'resync')
    assert.equal(lost.errorCode, 401)
    const [current] = await once(watcher, 'change')
    assert.equal(current.node.value, '7')
    console.log('ok resync')

    const seen = []
    watcher.on('change', ({ action, node }) => seen.push(`${action} ${node.value}`))
    const deleted = once(watcher, 'delete')
    await call('set', 'w', '8')
    await call('set', 'w', '9')
    await call('del', 'w')
    await deleted
    assert.deepEqual(seen, ['set 8', 'set 9', 'delete undefined'])
    const stopped = once(watcher, 'stop')
    watcher.stop()
    await stopped
    console.log('ok watcher')
  },

  async restart () {
    const watcher = etcd.watcher('w', null, { recursive: true, maxRetries: 0 })
    watcher.once('reconnect', () => console.log('ok reconnect'))
    const [event] = await once(watcher, 'set')
    assert.equal(event.node.key, '/w/x')
    watcher.stop()
    console.log('ok restart')
  }
}

scenarios[scenario]().catch((reason) => {
  console.error(reason)
  process.exit(1)
})
