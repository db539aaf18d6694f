/** The floor of a single submit: a Fastify handler that does nothing but add a job. Says its address when it listens. */
import { Queue } from "bullmq";
import { fastify } from "fastify";

const [redisUrl = ""] = process.argv.slice(2);
const queue = new Queue("bare", { connection: { url: redisUrl } });
const app = fastify({ logger: false });
app.post("/v1/vms", async (request, reply) => {
  const job = await queue.add("vm", request.body);
  return reply.code(202).send({ id: job.id });
});
const address = await app.listen({ host: "127.0.0.1", port: 0 });
process.stdout.write(`${address} ready\n`);
process.once("SIGTERM", () => process.exit());
