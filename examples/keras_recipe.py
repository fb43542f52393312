"""The classic Keras recipe for small data sets, with the Keras code in comments.

The recipe (Chollet, "Building powerful image classification models using very little data", 2016)
freezes the convolutions of a pretrained network, adds Flatten and Dense(1024, relu), and trains on
augmented pictures from a folder with one subfolder per class. Then it unfreezes the last block,
and trains again with a small learning rate. The network of the recipe is VGG16:

    python keras_recipe.py vgg16

The default is efficientnet_lite0, whose weights need no download. The pictures are three classes
of the packaged drawings, copied into a temporary folder. At a size of 64 pixels, the script takes
half a minute.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.model_selection import train_test_split

from sktransfer import PretrainedImageClassifier, load_clipart, load_image_folder

BACKBONE = sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0"
SIZE = 64  # the recipe's is 150
CLASSES = ("flower", "house", "vehicle")


def write_folders(root):
    """Write training and validation folders in the form that flow_from_directory reads."""
    paths, labels = load_clipart(return_X_y=True)
    parts = train_test_split(paths, labels, test_size=0.3, stratify=labels, random_state=0)
    for part, files, names in (("train", *parts[::2]), ("validation", *parts[1::2])):
        for file, name in zip(files, names, strict=True):
            if name in CLASSES:
                folder = root / part / name
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder)


def show(history):
    """Print one line per epoch, like Keras."""
    for epoch in history:
        print(
            f"  {epoch['phase']:9} epoch {epoch['epoch']:2} at lr {epoch['lr']:.0e}: "
            f"loss {epoch['train_loss']:.3f}, val_loss {epoch['valid_loss']:.3f}, "
            f"val_accuracy {epoch['valid_score']:.3f}"
        )


with TemporaryDirectory() as temporary:
    root = Path(temporary)
    write_folders(root)

    # datagen = ImageDataGenerator(
    #     rescale=1/255, rotation_range=40, width_shift_range=0.2, height_shift_range=0.2,
    #     shear_range=0.2, zoom_range=0.2, horizontal_flip=True, fill_mode="nearest")
    # test_datagen = ImageDataGenerator(rescale=1/255)
    #
    # The estimator rescales pixels as its weights require. Four augmented views of each picture
    # are computed once, and take turns. With n_views=None each epoch would have new views, as in
    # Keras, but would need another pass over the pictures. Validation data is never augmented.
    augmentation = {"augment": "keras", "n_views": 4}

    # train = datagen.flow_from_directory("train", target_size=(150, 150), batch_size=20)
    # validation = test_datagen.flow_from_directory("validation", ...)
    X, y = load_image_folder(root / "train", return_X_y=True)
    validation = load_image_folder(root / "validation", return_X_y=True)
    print(f"{len(X)} drawings to train on, {len(validation[0])} to validate: {CLASSES}\n")

    recipe = PretrainedImageClassifier(
        # conv_base = VGG16(weights="imagenet", include_top=False, input_shape=(150, 150, 3))
        BACKBONE,
        image_size=SIZE,
        # conv_base.trainable = False
        unfreeze_depth=0,
        # model = Sequential([conv_base, Flatten(), Dense(1024, activation="relu"),
        #                     Dense(3, activation="softmax")])
        pooling="flatten",
        hidden_layer_sizes=(1024,),
        # model.compile(loss="categorical_crossentropy", optimizer=Adam(1e-4), metrics=["acc"])
        loss="cross_entropy",
        optimizer="adam",
        lr=1e-4,
        schedule=None,
        weight_decay=0,
        batch_size=20,
        max_epochs=10,
        warm_start=True,
        random_state=0,
        **augmentation,
    )
    # model.fit(train, epochs=10, validation_data=validation)
    recipe.fit(X, y, validation_data=validation)
    print(f"{BACKBONE}, frozen:")
    show(recipe.history_)

    # for layer in conv_base.layers:
    #     layer.trainable = layer.name.startswith("block5")
    # model.compile(loss="categorical_crossentropy", optimizer=Adam(1e-5), metrics=["acc"])
    # model.fit(train, epochs=5, validation_data=validation)
    #
    # warm_start=True continues with the head of the first fit. Depth 1 is the last block, which is
    # block5 in VGG16. lr_decay=1.0 trains it at the head's learning rate, as Keras does.
    recipe.set_params(unfreeze_depth=1, lr=1e-5, lr_decay=1.0, max_epochs=5)
    recipe.fit(X, y, validation_data=validation)
    print("\nWith the last block unfrozen:")
    show(recipe.history_[10:])

    # model.evaluate(validation)
    print(f"\nValidation accuracy: {recipe.score(*validation):.3f}")
