// Homestar's own client, as its readme uses it: run a workflow three times, and print what it tells.
// usage: node client.mjs FOLDER URL RSC, where FOLDER holds node_modules
import { pathToFileURL } from 'node:url'

const [folder, url, rsc] = process.argv.slice(2)
const load = (path) => import(pathToFileURL(`${folder}/node_modules/@fission-codes/${path}`))
const { Homestar } = await load('homestar/src/index.js')
const Workflow = await load('homestar/src/workflow/index.js')
const { WebsocketTransport } = await load('channel/src/transports/ws.js')

const homestar = new Homestar({ transport: new WebsocketTransport(url) })
const errors = []
homestar.on('error', (error) => errors.push(String(error)))

const template = await Workflow.workflow({
  name: 'npm',
  workflow: {
    tasks: [
      Workflow.addOne({ name: 'one', resource: rsc, args: { a: 1 } }),
      Workflow.addOne({ name: 'two', resource: rsc, args: { a: '{{needs.one.output}}' } }),
    ],
  },
})

const run = () =>
  new Promise((resolve, reject) => {
    const told = []
    setTimeout(() => resolve(told), 10_000)
    homestar
      .runWorkflow(template, (notice) => {
        told.push({
          replayed: notice.metadata.replayed,
          name: notice.metadata.name,
          workflow: notice.metadata.workflow.toString(),
          out: notice.receipt.out,
          ran: notice.receipt.ran.toString(),
          cid: notice.receipt_cid.toString(),
        })
        if (told.length === template.workflow.tasks.length) resolve(told)
      })
      .then((answer) => answer.error && reject(answer.error))
  })

const runs = [await run(), await run(), await run()]
const events = await homestar.networkEvents()
events.result()
console.log(
  JSON.stringify({
    runs,
    health: (await homestar.health()).result,
    node: (await homestar.node()).result,
    metrics: (await homestar.metrics()).result.metrics.length,
    errors,
  })
)
homestar.close()
process.exit(0)
