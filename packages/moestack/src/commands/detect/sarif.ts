import { packageVersion } from '../../version.js';
import type { Judged } from './detect-files.js';

/** Findings as a SARIF 2.1.0 log: AI texts as warnings, abstentions as results that do not apply or are open. */
export function sarifLog(judged: readonly Judged[], toUri: (file: string) => string): object {
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'moestack detect',
            version: packageVersion(),
            informationUri: 'https://www.npmjs.com/package/@moestack/detect',
            rules: [
              {
                id: 'ai-text',
                name: 'AiText',
                shortDescription: { text: 'Text that may be written by a language model' },
                fullDescription: {
                  text: 'The embedded detector scores this text above its conformal threshold. A verdict is no proof.',
                },
                defaultConfiguration: { level: 'warning' },
              },
            ],
          },
        },
        columnKind: 'utf16CodeUnits',
        results: judged
          .filter(({ verdict }) => verdict.label !== 'human')
          .map(({ file, name, startLine, endLine, verdict }) => {
            const { label, probability, reasons } = verdict;
            const open = reasons.some(({ code }) => code === 'inconclusive');
            const what = name === undefined ? 'This text' : `${name}`;
            const kind = label === 'ai' ? 'fail' : open ? 'open' : 'notApplicable';
            return {
              ruleId: 'ai-text',
              ruleIndex: 0,
              kind,
              level: kind === 'fail' ? 'warning' : 'none',
              message: {
                text: `${what}: ${label}, probability of AI ${probability.toFixed(2)}; ${reasons.map(({ message }) => message).join('; ')}`,
              },
              locations: [
                {
                  physicalLocation: {
                    artifactLocation: { uri: toUri(file) },
                    region: { startLine, endLine },
                  },
                  ...(name !== undefined && { logicalLocations: [{ name, kind: 'function' }] }),
                },
              ],
              properties: {
                probability,
                interval: verdict.interval,
                score: verdict.score,
                model: verdict.model,
              },
            };
          }),
      },
    ],
  };
}
