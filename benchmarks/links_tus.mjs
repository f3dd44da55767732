// Sends files with tus-js-client: node links_tus.mjs URL TOKEN FILE...; goes on where the server is.
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { Upload } from "tus-js-client";

const [endpoint, token, ...files] = process.argv.slice(2);
const retryDelays = [0, 1000, 3000, ...Array(1000).fill(5000)];

for (const file of files) {
  await new Promise((resolve, reject) => {
    new Upload(createReadStream(file), {
      endpoint,
      retryDelays,
      uploadSize: statSync(file).size,
      metadata: { filename: basename(file) },
      headers: { Authorization: `Bearer ${token}` },
      onError: reject,
      onSuccess: resolve,
    }).start();
  });
}
