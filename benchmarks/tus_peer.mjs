// The npm tus server with its file store, as its README starts it.
import { createServer } from 'node:http'
import { Server } from '@tus/server'
import { FileStore } from '@tus/file-store'

const [directory, port] = process.argv.slice(2)
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })
createServer((request, response) => tus.handle(request, response)).listen(Number(port), '127.0.0.1')
