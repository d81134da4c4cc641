import type { TrainConfig, TrainEvent } from '@moestack/schemas';
import { SingleBar } from 'cli-progress';
import type { Reporter } from '../../reporter.js';

type StepEvent = Extract<TrainEvent, { type: 'step' }>;

/** Lines of a run where there is no bar. */
const lines = 50;

/** Shows how a run goes: a bar on a terminal, a line now and then elsewhere, every record with `--json`. */
export class TrainProgress {
  readonly #reporter: Reporter;
  readonly #config: TrainConfig;
  readonly #bar: SingleBar | undefined;
  #running = false;
  #shown = -1;

  constructor(reporter: Reporter, config: TrainConfig) {
    this.#reporter = reporter;
    this.#config = config;
    const { stderr } = reporter.streams;
    if (reporter.json || stderr.isTTY !== true) return;
    this.#bar = new SingleBar({
      stream: stderr,
      format: `${config.name} {bar} {value}/{total} | {figures} | {eta_formatted} left`,
      barCompleteChar: '#',
      barIncompleteChar: '-',
      barsize: 20,
      hideCursor: true,
      clearOnComplete: true,
    });
  }

  update(event: TrainEvent): void {
    const { name, steps } = this.#config;
    if (this.#reporter.json) {
      this.#reporter.note({ event: 'training', run: name, record: event }, '');
      return;
    }
    if (event.type === 'start') {
      const millions = (event.parameters / 1e6).toFixed(2);
      const active = (event.activeParameters / 1e6).toFixed(2);
      const from = event.firstStep === 0 ? '' : `, going on after step ${event.firstStep}`;
      const bytes = `${event.savedBytesPerToken.toFixed(0)} bytes of activations a token (${event.bf16BytesPerToken.toFixed(0)} in BF16)`;
      this.#say(`${name}: ${millions} M parameters, ${active} M active, ${bytes}${from}`);
      this.#bar?.start(steps, event.firstStep, { figures: '' });
      this.#running = true;
    } else if (event.type === 'step') this.#step(event);
  }

  /** Ends the display, also after a failure. */
  stop(): void {
    if (this.#running) this.#bar?.stop();
    this.#running = false;
  }

  #step(event: StepEvent): void {
    const { name, steps } = this.#config;
    if (this.#bar !== undefined) {
      this.#bar.update(event.step, { figures: figures(event) });
      return;
    }
    const part = Math.floor((lines * event.step) / steps);
    if (part <= this.#shown) return;
    this.#shown = part;
    this.#say(`${name} ${event.step}/${steps}: ${figures(event)}`);
  }

  #say(line: string): void {
    this.#reporter.note({ event: 'training' }, line);
  }
}

/** The figures of a step in one line. */
export function figures(event: StepEvent): string {
  const { loss, tokensPerSecond, gradientNorm, learningRate, maxVio } = event;
  const balance = maxVio.length === 0 ? '' : `, MaxVio ${maxVio.map((value) => value.toFixed(2)).join(' ')}`;
  return `loss ${loss.toFixed(4)}, ${tokensPerSecond.toFixed(0)} tokens/s, norm ${gradientNorm.toFixed(3)}, rate ${learningRate.toExponential(2)}${balance}`;
}
