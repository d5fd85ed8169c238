/** `runOperator` as a process. Arguments: kubeconfig, identity, registry host. */
import { pino } from 'pino';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import { runOperator } from '../../operator/index.ts';

const [kubeconfig = '', identity = '', registryHost = ''] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
// Dies with the test that started it.
process.on('disconnect', () => process.exit());
await runOperator(
  {
    kubeconfig,
    identity,
    namespace: DEFAULT_NAMESPACE,
    plainHttpHosts: [registryHost],
    logger: pino({ level: process.env['TREELINE_TEST_LOG'] ?? 'silent' }),
  },
  stop.signal,
);
process.exit();
