// Asks the REST API of this server.

// `status` is 0 where there was no answer, and `message` what the server says.
export class ApiError extends Error {
  constructor(status, message = "") {
    super(message);
    this.status = status;
  }
}

// `body` is posted; without one the path is read.
export async function request(path, { token, body, signal } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      headers, signal, method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, answer?.error);
  if (answer === null) throw new ApiError(response.status);
  return answer;
}
