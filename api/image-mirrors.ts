/** Further repositories that have an image: in the OSImage as people write them, in the order as the agent gets them. */
import * as z from 'zod';

const MIRRORS_MAX = 8;
const MIRROR_CHARACTERS = 255;

export const mirrorsSchema = (description: string) =>
  z
    .array(
      z
        .string()
        .min(1)
        .max(MIRROR_CHARACTERS)
        .meta({
          'x-kubernetes-validations': [
            {
              rule: "self.matches('^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$')",
              message: 'must be host[:port]/name, without tag and digest',
            },
          ],
        }),
    )
    .max(MIRRORS_MAX)
    .meta({
      // Their order means something, so that two writers cannot each own some of them.
      'x-kubernetes-list-type': 'atomic',
      'x-kubernetes-validations': [
        { rule: 'self.all(one, self.exists_one(other, one == other))', message: 'each mirror may be named once' },
      ],
    })
    .optional()
    .describe(description);
