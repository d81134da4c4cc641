// Stand-ins for a prefill and a decode server of vLLM (NIXL connector) and of SGLang. They speak the wire protocol of the
// real ones and refuse what those refuse; instead of a model they repeat the prompt, word by word.
import { createServer } from 'node:http';

/** KV blocks that wait on the vLLM prefill server, by request id, and rooms in which an SGLang server waits. */
export const pinned = new Map();
export const rooms = new Map();

/** Starts all four; resolves to their addresses. */
export async function startPools() {
  const servers = await Promise.all(
    [vllmPrefill, vllmDecode, sglangLeg('prefill'), sglangLeg('decode')].map(start),
  );
  const [vllmP, vllmD, sglangP, sglangD] = servers.map(
    (server) => `http://127.0.0.1:${server.address().port}`,
  );
  return {
    vllm: { prefill: vllmP, decode: vllmD },
    sglang: { prefill: sglangP, decode: sglangD },
    async stop() {
      for (const server of servers) server.closeAllConnections();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

function start(answer) {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (request.method === 'GET') return response.end('{"object":"list","data":[]}');
    await answer(JSON.parse(Buffer.concat(chunks)), response, request.headers);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

let nextBlock = 0;

function vllmPrefill(body, response, headers) {
  const id = headers['x-request-id'];
  if (body.max_tokens !== 1 || body.stream !== false || body.kv_transfer_params?.do_remote_decode !== true) {
    return fail(response, 400, {
      error: { message: 'not a prefill request', type: 'BadRequestError', param: null, code: 400 },
    });
  }
  const params = {
    ...{ do_remote_prefill: true, do_remote_decode: false, remote_block_ids: [[nextBlock++]] },
    ...{
      remote_engine_id: 'engine-0',
      remote_request_id: id,
      remote_host: '10.0.0.1',
      remote_port: 5600,
      tp_size: 1,
    },
  };
  pinned.set(id, JSON.stringify(params));
  json(response, 200, { choices: [{ index: 0, finish_reason: 'length' }], kv_transfer_params: params });
}

async function vllmDecode(body, response, headers) {
  const id = headers['x-request-id'];
  if (pinned.get(id) !== JSON.stringify(body.kv_transfer_params)) {
    return fail(response, 400, {
      error: { message: 'no such KV blocks', type: 'BadRequestError', param: null, code: 400 },
    });
  }
  pinned.delete(id);
  await generate(body, response, 'vLLM');
}

function sglangLeg(leg) {
  return async (body, response) => {
    const name = body.bootstrap_room;
    if (name === undefined) {
      const message = 'Disaggregated request received without bootstrap room id';
      return fail(response, 400, {
        object: 'error',
        message,
        type: 'BadRequestError',
        param: null,
        code: 400,
      });
    }
    // Neither leg goes on before the other has come to the same room.
    const room = rooms.get(name) ?? {};
    rooms.set(name, room);
    room.met ??= new Promise((resolve) => {
      room.meet = resolve;
    });
    room[leg] = true;
    // A leg whose connection ends before that leaves, and the last one closes the room.
    response.once('close', () => {
      room[leg] = false;
      if (!room.prefill && !room.decode) rooms.delete(name);
    });
    if (room.prefill && room.decode) room.meet();
    await room.met;
    await generate(body, response, 'SGLang');
  };
}

async function generate(body, response, engine) {
  const words = `${engine} heard: ${body.messages.at(-1).content}`
    .split(/(?= )/)
    .slice(0, body.max_tokens ?? 64);
  const head = { id: 'chatcmpl-1', created: 1, model: body.model };
  const usage = {
    prompt_tokens: words.length,
    completion_tokens: words.length,
    total_tokens: 2 * words.length,
  };
  if (body.stream !== true) {
    const message = { role: 'assistant', content: words.join('') };
    return json(response, 200, {
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason: 'stop' }],
      usage,
    });
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (delta, reason) => {
    const choices = [{ index: 0, delta, finish_reason: reason }];
    response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices })}\n\n`);
  };
  for (const word of words) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    send({ content: word }, null);
  }
  send({}, 'stop');
  response.end('data: [DONE]\n\n');
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

function fail(response, status, value) {
  json(response, status, value);
}
