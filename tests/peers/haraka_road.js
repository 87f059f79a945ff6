// Haraka's plugin for tests: who may log in, what is kept, and the way of all other mail. config/road.json says it.
'use strict'

const fs = require('node:fs')

exports.register = function () {
  this.inherits('auth/auth_base')
  this.road = this.config.get('road.json')
}

exports.get_plain_passwd = function (user, cb) {
  cb(user === this.road.user ? this.road.password : null)
}

exports.hook_rcpt = (next, connection) => {
  if (connection.relaying) return next(OK)
  next(DENY, 'Log in first')
}

// who has logged in relays, so all his mail comes here
exports.hook_queue_outbound = function (next, connection) {
  const transaction = connection.transaction
  const recipient = transaction.rcpt_to[0]
  if (recipient.host !== this.road.kept) return next()
  const path = `${this.road.box}/${recipient.address}`
  const file = fs.createWriteStream(`${path}.eml`)
  file.once('close', () => {
    const facts = {
      sender: transaction.mail_from.address,
      recipient: recipient.address,
      user: connection.notes.auth_user || '',
      mechanism: connection.notes.auth_method || '',
      tls: connection.tls.cipher ? connection.tls.cipher.version : '',
    }
    fs.writeFileSync(`${path}.new`, JSON.stringify(facts))
    fs.renameSync(`${path}.new`, `${path}.json`)
    next(OK)
  })
  transaction.message_stream.pipe(file, { line_endings: '\r\n' })
}

exports.hook_get_mx = function (next, hmail, domain) {
  next(OK, {
    priority: 0,
    exchange: '127.0.0.1',
    port: this.road.port,
    from_dns: this.road.host, // the name its certificate must bear
    auth_user: this.road.out_user,
    auth_pass: domain === this.road.locked ? this.road.wrong : this.road.out_password,
    auth_type: 'PLAIN',
  })
}
