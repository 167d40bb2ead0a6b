# One image for every role: `docker build -t claims-gateway:0.1.0 .`
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/gateway
COPY requirements.lock pyproject.toml README.md ./
RUN /opt/gateway/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY gateway gateway
COPY adapters adapters
COPY settlement settlement
COPY audit audit
RUN /opt/gateway/bin/pip install --no-cache-dir --disable-pip-version-check --no-build-isolation --no-deps .

# What all tests want of a system, for .devcontainer; the image of the roles takes nothing from it.
FROM python:3.11.14-slim-bookworm AS dev
RUN apt-get update -q \
  && apt-get install -q -y --no-install-recommends git make postgresql openjdk-17-jre-headless maven \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 dev
USER dev

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /gateway
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["--help"]
