"""How long a feature pass and a fit take, against a DataLoader loop and against each other.

Run with ``python -m benchmarks.first_light``.
"""

from benchmarks._common import alternate, ants_and_bees, arguments, mobilenet, print_machine
from benchmarks._peers import Photos, loop, plain_network
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier


def main():
    options = arguments(__doc__)
    paths, labels = ants_and_bees(options.data, "train")
    network, photos = plain_network(*mobilenet(options.data).values()), Photos(paths)
    extractor = PretrainedFeatureExtractor(**mobilenet(options.data), device="cpu").fit(paths)
    print_machine()

    ours, theirs = extractor.transform(paths), loop(network, photos, 0)
    print(f"Largest difference of a feature from the loop's: {abs(ours - theirs).max():.1e}\n")

    sides = {"transform": lambda: extractor.transform(paths)}
    for workers in (0, 2):
        sides[f"loop, {workers} workers"] = lambda n=workers: loop(network, photos, n)
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
