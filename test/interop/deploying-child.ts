/** Pulls one image as a command that deploys does, and stays there, to be killed by a test: REPOSITORY LAYOUT. Says `held` then. */
import { pullToDeploy } from './deploying.ts';

const [repository = '', layout = ''] = process.argv.slice(2);
await pullToDeploy(repository, layout, async () => {
  process.stdout.write('held\n');
  await new Promise((resolve) => setTimeout(resolve, 600_000));
});
