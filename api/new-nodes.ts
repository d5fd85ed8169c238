/** `spec.newNodes` of an OSImage: what happens to nodes that join when the others run the target already. */
import * as z from 'zod';

export const newNodesSchema = z
  .enum(['Wait', 'UpdateOnJoin', 'Gate'])
  .default('Wait')
  .describe(
    'What happens to a node that joins on another image after all others have been brought to the target. `Wait` (default): it is updated as any outdated node. `UpdateOnJoin`: also outside of `windows`; budgets, freezes and pauses still hold. `Gate`: as `UpdateOnJoin`, and the node carries the taint treeline.dev/not-ready:NoSchedule until it is on the target. Treeline puts it on when it sees the node; only a kubelet that registers with it (--register-with-taints) keeps every pod away. It is taken off in both cases.',
  );
