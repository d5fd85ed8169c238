/** An API server of one object, in a process of its own so that it can be killed outright. Port as argument. */
import { createServer } from 'node:http';

const resourceVersion = String(process.pid);
const server = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '', 'http://x');
  if (searchParams.has('watch')) {
    // It knows no history from before its start.
    if (searchParams.get('resourceVersion') !== resourceVersion) response.writeHead(410).end();
    else response.writeHead(200).flushHeaders();
    return;
  }
  response.writeHead(200);
  const metadata = { name: 'pid', uid: resourceVersion, resourceVersion };
  response.end(JSON.stringify({ metadata: { resourceVersion }, items: [{ metadata }] }));
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  process.send?.('listening');
});
// Dies with the test that started it.
process.on('disconnect', () => process.exit());
