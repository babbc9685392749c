# syntax=docker/dockerfile:1
# One image for every process of ours: `rapport worker`, `rapport gateway`, `rapport codec-server`, `rapport sandbox`,
# `rapport migrate`. Everything that is installed is pinned and checked against a hash.

ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements-uv.lock ./
RUN pip install --quiet --root-user-action=ignore --require-hashes --requirement requirements-uv.lock \
    && uv venv /opt/rapport

# Dependencies first: they change less often than our code.
COPY requirements.lock ./
RUN uv pip install --python /opt/rapport --require-hashes --requirements requirements.lock

COPY pyproject.toml README.md worker.py ./
COPY deploy/build-requirements.lock deploy/
COPY domain domain
COPY activities activities
COPY workflows workflows
COPY providers providers
COPY store store
COPY gateway gateway
COPY starter starter
COPY runtime runtime
COPY sandbox sandbox
RUN uv build --wheel --out-dir /dist --require-hashes --build-constraints deploy/build-requirements.lock \
    && uv pip install --python /opt/rapport --no-deps --no-index /dist/*.whl

FROM python:${PYTHON}
RUN pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip \
    && groupadd --gid 10001 rapport \
    && useradd --uid 10001 --gid rapport --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rapport
COPY --from=build /opt/rapport /opt/rapport
ENV PATH=/opt/rapport/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["rapport"]
