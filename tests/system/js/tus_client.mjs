// One upload by tus-js-client. The only argument is JSON; the last line of the output is too.
import { createReadStream, statSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { PassThrough } from 'node:stream'
import tus from 'tus-js-client'

const asked = JSON.parse(process.argv[2])
const seen = { starts: [], requests: 0 }

async function sha256(path) {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece)
  return hash.digest('hex')
}

const metadata = { filename: basename(asked.path), filetype: 'video/mp4' }
if (!asked.plain) metadata.sha256 = asked.sha256 ?? (await sha256(asked.path))

// A pipe has no length, a file has one whatever is said.
const source = createReadStream(asked.path)
const upload = new tus.Upload(asked.piped ? source.pipe(new PassThrough()) : source, {
  endpoint: asked.endpoint,
  headers: { Authorization: `Bearer ${asked.token}` },
  metadata,
  urlStorage: asked.memory ? new tus.FileUrlStorage(asked.memory) : undefined,
  storeFingerprintForResuming: Boolean(asked.memory),
  retryDelays: [50, 100, 200, 400, 800],
  chunkSize: asked.chunkSize ?? Infinity,
  ...(asked.options ?? {}),
  onBeforeRequest(request) {
    seen.requests += 1
    if (request.getMethod() === 'PATCH') seen.starts.push(Number(request.getHeader('Upload-Offset')))
  },
  onAfterResponse(request, response) {
    seen.digest = response.getHeader('Repr-Digest') ?? seen.digest
  },
  onProgress(sent) {
    if (sent > 0) process.stdout.write(`sent ${sent}\n`)
    if (asked.terminateAfter && sent >= asked.terminateAfter) {
      asked.terminateAfter = 0
      upload.abort(true).then(() => done({ terminated: true }), failed)
    }
  },
  onError: failed,
  onSuccess() {
    done({ url: upload.url })
  },
})

function done(result) {
  console.log(JSON.stringify({ ...seen, ...result, length: statSync(asked.path).size }))
  process.exit(0)
}

function failed(error) {
  console.log(JSON.stringify({ ...seen, error: String(error), status: error.originalResponse?.getStatus() }))
  process.exit(1)
}

if (asked.memory) {
  const earlier = await upload.findPreviousUploads()
  seen.resumed = earlier.length > 0
  if (earlier.length) upload.resumeFromPreviousUpload(earlier[0])
}
upload.start()
