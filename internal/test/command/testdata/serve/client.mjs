// Creates a PDF with Node, waits for it, downloads it to a file, and prints the id.
import { writeFile } from 'node:fs/promises';

const { GAMMA_API_KEY, GAMMA_BASE_URL, REQUEST } = process.env;

async function api(path, options) {
  const headers = { 'X-API-KEY': GAMMA_API_KEY, 'Content-Type': 'application/json' };
  const response = await fetch(GAMMA_BASE_URL + path, { headers, ...options });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

const { generationId } = await api('/v1.0/generations', { method: 'POST', body: REQUEST });
let generation;
do {
  await new Promise((resolve) => setTimeout(resolve, 200));
  generation = await api(`/v1.0/generations/${generationId}`);
  if (generation.status === 'failed') throw new Error(generation.error.message);
} while (!generation.exportUrl);

let file = Buffer.alloc(0);
for (let tries = 1; ; tries++) {
  try { // a link needs no key
    const response = await fetch(generation.exportUrl, { headers: { Range: `bytes=${file.length}-` } });
    if (!response.ok) throw new Error(`export: ${response.status}`);
    for await (const chunk of response.body) file = Buffer.concat([file, chunk]);
    break;
  } catch (error) {
    if (tries === 5) throw error;
  }
}
await writeFile(process.argv[2], file);
console.log(generationId);
