// Pays small invoices and lists all of them, ten times, as whoever the token in PGPASSWORD says.
const fs = require('node:fs')
const { Pool } = require('pg')

// pg reads PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE. Given a "ca", it verifies the certificate and the host name.
const pool = new Pool({ max: 2, ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT) } })

async function payAndList (limit) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query({ name: 'pay', text: 'UPDATE invoice SET paid = true WHERE amount < $1', values: [limit] })
    const { rows: [{ tenant }] } = await client.query("SELECT jwt('tenant_id') AS tenant")
    const { rows } = await client.query({ name: 'list', text: 'SELECT * FROM invoice ORDER BY id' })
    await client.query('COMMIT')
    return { tenant, rows }
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

async function main () {
  let result
  for (let i = 0; i < 10; i++) result = await payAndList(100)
  console.log('tenant', result.tenant)
  for (const { id, customer, amount, paid } of result.rows) console.log(id, customer, amount, paid ? 'paid' : 'open')
  await pool.end()
}

main().catch(error => {
  console.error(error.message)
  process.exit(1)
})
