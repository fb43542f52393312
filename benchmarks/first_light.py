"""Time of `transform` and `fit`, compared with a DataLoader loop.

Run with ``python -m benchmarks.first_light``.
"""

from benchmarks._common import alternate, ants_and_bees, arguments, mobilenet, print_machine
from benchmarks._peers import Photos, loops
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier


def main():
    options = arguments(__doc__)
    paths, labels = ants_and_bees(options.data, "train")
    extractor = PretrainedFeatureExtractor(**mobilenet(options.data), device="cpu").fit(paths)
    print_machine()

    peers = loops(*mobilenet(options.data).values(), Photos(paths))
    ours, theirs = extractor.transform(paths), next(iter(peers.values()))()
    print(f"Largest difference of a feature from the loop's: {abs(ours - theirs).max():.1e}\n")

    sides = {"transform": lambda: extractor.transform(paths), **peers}
    for epochs in (10, 100):
        classifier = PretrainedImageClassifier(
            **mobilenet(options.data), max_epochs=epochs, device="cpu", random_state=0
        )
        sides[f"fit, max_epochs={epochs}"] = lambda c=classifier: c.fit(paths, labels)
    seconds = alternate(sides, options.repeats)

    print(f"| {len(paths)} JPEG photos | seconds | pictures/s | time against transform |")
    print("|---|---|---|---|")
    for name, value in seconds.items():
        ratio = value / seconds["transform"]
        print(f"| {name} | {value:.2f} | {len(paths) / value:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
